import { $ } from "../core/dom.js";
import { replace } from "../core/live.js";
import { dropping } from "../core/upload.js";
import { storedFiles } from "../core/stored.js";

const renew = () => replace("#files");

dropping({
  chosen: () => ({ purpose: $("#purpose").value, days: Number($("#days").value) }),
  all: renew,
});
storedFiles({ gone: renew });
