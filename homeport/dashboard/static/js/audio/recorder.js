// The microphone: a file of what was said, with a meter while it is.

const WRONG = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it beside the address, or choose a file.",
  NotFoundError: "There is no microphone. Plug one in, or choose a file.",
  NotReadableError: "The microphone is in use by another program, or does not answer. Choose a file, or try again.",
};

export const supported = () => Boolean(navigator.mediaDevices?.getUserMedia && globalThis.MediaRecorder);

/** Why it does not record, in words. */
export function trouble(error) {
  if (!globalThis.isSecureContext) return "Browsers let pages record over HTTPS, or on the server's own machine (http://127.0.0.1). Serve with TLS, or choose a file.";
  if (!supported()) return "This browser cannot record. Choose a file.";
  return WRONG[error?.name] ?? `It cannot be recorded: ${error?.message ?? error}. Choose a file.`;
}

/** level(0..1), seconds(number): while it lasts. Returns {stop() -> File}. Raises what `trouble` tells. */
export async function record({ level, seconds }) {
  if (!supported()) throw new Error("unsupported");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const began = performance.now();
  const looking = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, one) => sum + one * one, 0) / samples.length);
    level(Math.min(1, Math.max(0, 1 + Math.log10(loudness + 1e-6) / 2.5)));
    seconds((performance.now() - began) / 1000);
  }, 80);
  recorder.start(1000);
  return {
    async stop() {
      clearInterval(looking);
      recorder.stop();
      await ended;
      for (const track of stream.getTracks()) track.stop();
      context.close();
      const type = recorder.mimeType.split(";")[0];
      return new File(parts, `recording.${type.endsWith("mp4") ? "m4a" : type.endsWith("ogg") ? "ogg" : "webm"}`, { type });
    },
  };
}
