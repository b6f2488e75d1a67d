import { $ } from "../core/dom.js";
import { dropping } from "../core/upload.js";
import { storedFiles } from "../core/stored.js";

dropping({
  chosen: () => ({ purpose: $("#purpose").value, days: Number($("#days").value) }),
  all: () => location.reload(),
});
storedFiles({ gone: () => location.reload() });
