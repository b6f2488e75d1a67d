// What was heard: segments and words that seek the player, subtitles, text; and files of them.
import { copy } from "../core/copy.js";
import { h, icon } from "../core/dom.js";

/** `1:02.3` */
export function clock(seconds, digits = 1) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, "0")}`;
}

/** Text alone, or subtitles. element: in whose place; name: of files. */
export function showText(element, text, { name, format }) {
  const subtitles = format === "srt" || format === "vtt";
  const body = subtitles ? h("pre", { tabindex: "0" }, text) : h("p", { class: "heard-text" }, text);
  element.replaceChildren(h("div", { class: "card stack" }, body, files(name, subtitles ? { [format]: text } : { txt: text })));
}

/** The answer of `verbose_json`. audio: that plays it. */
export function showVerbose(element, answer, { name, audio }) {
  const timed = [];
  const seek = (at) => () => {
    audio.currentTime = at;
    audio.play().catch(() => {});
  };
  const segments = (answer.segments ?? []).map((one) => {
    const button = h("button", { onclick: seek(one.start) }, h("span", { class: "times" }, `${clock(one.start)} – ${clock(one.end)}`), h("span", {}, one.text.trim()));
    timed.push([one, button]);
    return h("li", {}, button);
  });
  const words = (answer.words ?? []).map((one) => {
    const button = h("button", { onclick: seek(one.start), title: `${clock(one.start, 2)} – ${clock(one.end, 2)}` }, one.word.trim());
    timed.push([one, button]);
    return [button, " "];
  });
  const facts = [answer.language, `${clock(answer.duration, 0)} min`].filter(Boolean).join(", ");
  element.replaceChildren(
    h(
      "div",
      { class: "card stack" },
      segments.length ? h("ol", { class: "segments", "aria-label": "Segments" }, segments) : h("p", { class: "heard-text" }, answer.text || "Nothing was said."),
      words.length ? h("details", { open: !segments.length }, h("summary", {}, `${answer.words.length} words`), h("div", { class: "words" }, words.flat())) : null,
      h("p", { class: "small muted" }, facts),
      files(name, { txt: answer.text, ...(segments.length && { srt: srt(answer.segments), vtt: vtt(answer.segments) }), json: JSON.stringify(answer, null, 2) }),
    ),
  );
  audio.ontimeupdate = () => {
    for (const [{ start, end }, button] of timed) button.classList.toggle("now", audio.currentTime >= start && audio.currentTime < end);
  };
}

function files(name, contents) {
  const links = Object.entries(contents).map(([ending, text]) => h("a", { class: "button tiny", download: `${name}.${ending}`, href: URL.createObjectURL(new Blob([text], { type: "text/plain" })) }, icon("download"), `.${ending}`));
  return h("div", { class: "row" }, h("button", { class: "tiny", onclick: () => copy(Object.values(contents)[0]) }, icon("copy"), "Copy"), links);
}

const srt = (segments) => segments.map((one, index) => `${index + 1}\n${stamp(one.start, ",")} --> ${stamp(one.end, ",")}\n${one.text.trim()}\n\n`).join("");
const vtt = (segments) => `WEBVTT\n\n${segments.map((one) => `${stamp(one.start, ".")} --> ${stamp(one.end, ".")}\n${one.text.trim()}\n\n`).join("")}`;
const stamp = (seconds, point) => new Date(Math.round(1000 * seconds)).toISOString().slice(11, 23).replace(".", point);
