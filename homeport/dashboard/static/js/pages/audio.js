import { hearing } from "../audio/hearing.js";
import { speech } from "../audio/speech.js";
import { $ } from "../core/dom.js";
import { tabs } from "../core/tabs.js";

const panels = [
  { name: "speech", label: "Speech", panel: $("#speech") },
  { name: "hearing", label: "Transcription", panel: $("#hearing") },
];
$("#tasks").replaceWith(tabs(panels, { label: "Speech or transcription", kept: "homeport.audio.task" }));
speech();
hearing();

// One thing is heard at a time.
document.addEventListener(
  "play",
  (event) => {
    for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
  },
  true,
);
