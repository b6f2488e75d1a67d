// Sound that plays while it comes, where the browser can put it together (mp3), and else when it is whole.
import { h } from "../core/dom.js";

const TYPES = { mp3: "audio/mpeg", opus: "audio/ogg", aac: "audio/aac", flac: "audio/flac", wav: "audio/wav", pcm: "application/octet-stream" };
const PCM_RATE = 24_000;

/** {audio, take(bytes), end() -> Blob, as it came}. */
export function player(format) {
  const audio = h("audio", { controls: true });
  const parts = [];
  const coming = format === "mp3" && globalThis.MediaSource?.isTypeSupported("audio/mpeg") ? new Coming(audio) : null;
  return {
    audio,
    take(bytes) {
      parts.push(bytes);
      coming?.take(bytes);
    },
    end() {
      const whole = new Blob(parts, { type: TYPES[format] });
      if (coming) coming.end(() => replayable(audio, whole));
      else {
        audio.src = URL.createObjectURL(format === "pcm" ? new Blob([wavHead(whole.size), whole], { type: "audio/wav" }) : whole);
        audio.play().catch(() => {});
      }
      return whole;
    },
  };
}

/** What has been put together once is not kept by all browsers: the whole takes its place when it has been heard. */
function replayable(audio, whole) {
  const replace = () => (audio.src = URL.createObjectURL(whole));
  if (audio.paused && audio.currentTime === 0) replace();
  else audio.addEventListener("ended", replace, { once: true });
}

class Coming {
  #queue = [];
  #source = new MediaSource();
  #buffer = null;
  #ended = null;

  constructor(audio) {
    audio.src = URL.createObjectURL(this.#source);
    audio.play().catch(() => {});
    this.#source.addEventListener("sourceopen", () => {
      if (this.#buffer) return;
      this.#buffer = this.#source.addSourceBuffer("audio/mpeg");
      this.#buffer.addEventListener("updateend", () => this.#next());
      this.#next();
    });
  }

  take(bytes) {
    this.#queue.push(bytes);
    this.#next();
  }

  end(then) {
    this.#ended = then;
    this.#next();
  }

  #next() {
    if (!this.#buffer || this.#buffer.updating || this.#source.readyState !== "open") return;
    if (this.#queue.length) this.#buffer.appendBuffer(this.#queue.shift());
    else if (this.#ended) {
      this.#source.endOfStream();
      this.#ended();
    }
  }
}

function wavHead(bytes) {
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  head.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  for (const [at, value, wide] of [[16, 16, true], [20, 1], [22, 1], [24, PCM_RATE, true], [28, 2 * PCM_RATE, true], [32, 2], [34, 16], [40, bytes, true]]) wide ? head.setUint32(at, value, true) : head.setUint16(at, value, true);
  text(36, "data");
  return head.buffer;
}
