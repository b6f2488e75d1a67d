// One fine-tuning job: its curves and its events, as they come; its buttons; who may use its models.
import { $ } from "../core/dom.js";
import { acting } from "../jobs/acting.js";
import { Curves } from "../jobs/curves.js";
import { follow } from "../jobs/following.js";
import { log } from "../jobs/log.js";
import { sharing } from "../jobs/sharing.js";
import { telling } from "../jobs/told.js";
import { replace } from "../core/live.js";

acting();
telling("Fine-tuning job");
sharing($("#job").dataset.project);
$("[data-metrics]").addEventListener("change", ({ target }) => $("#events").classList.toggle("all", target.checked));

const curves = new Curves();
await follow($("#job").dataset.job, (told) => {
  for (const event of told) if (event.data?.step !== undefined) curves.add(event.data);
  log($("#events"), told);
  curves.draw();
});
await curves.draw();
await replace(".renewed");
