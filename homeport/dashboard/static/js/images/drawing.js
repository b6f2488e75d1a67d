// Asks for pictures, and gives them as they come: `{partial: Blob}` of one in the making, `{picture: Blob, revised}`.
import { ask, events } from "../core/api.js";
import { isGPT } from "./families.js";

/** Of a prompt: the body as it is sent. */
export function generation(values) {
  const { own_size: own, ...body } = values;
  if (body.size === "own") body.size = own;
  if (body.partial_images) body.stream = true;
  return withBytes(body);
}

/** What comes must be bytes: addresses expire. */
export function withBytes(body) {
  return isGPT(body.model) || body.stream ? body : { ...body, response_format: "b64_json" };
}

/** opened(response): as core/api.js has it. */
export async function* drawn(path, { body, files, signal, opened }) {
  const options = files ? { form: formOf(body, files) } : { body };
  if (body.stream) {
    for await (const { data } of events(path, { ...options, signal, opened })) {
      const picture = blob(data.b64_json);
      yield data.type.endsWith(".partial_image") ? { partial: picture } : { picture };
    }
    return;
  }
  const answer = await (await ask(path, { method: "POST", ...options, signal, opened })).json();
  for (const one of answer.data) yield { picture: await bytesOf(one, signal), revised: one.revised_prompt };
}

function formOf(body, files) {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) form.append(name, String(value));
  for (const [name, file] of Object.entries(files)) form.append(name, file, `${name}.${extension(file)}`);
  return form;
}

export const extension = (picture) => picture.type.replace("image/", "").replace("jpeg", "jpg") || "png";

/** An upstream may give an address all the same; where that is not of this server, the page must not ask for it. */
async function bytesOf(one, signal) {
  if (one.b64_json) return blob(one.b64_json);
  const address = new URL(one.url, location.href);
  if (!address.pathname.startsWith("/v1/homeport/images/")) throw new Error(`The picture is at ${address.href}`);
  return (await ask(address.pathname, { signal })).blob();
}

function blob(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const type = bytes[0] === 0xff ? "image/jpeg" : bytes[0] === 0x52 ? "image/webp" : "image/png";
  return new Blob([bytes], { type });
}
