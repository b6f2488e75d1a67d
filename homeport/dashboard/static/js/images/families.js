// What a name may be asked for: OpenAI's rules go by it, whatever draws (docs/images.md).

const GPT = { sizes: ["auto", "1024x1024", "1536x1024", "1024x1536"], most: 10, quality: ["auto", "low", "medium", "high"], takes: ["background", "format", "compression", "partial"] };
const FAMILIES = {
  "dall-e-2": { sizes: ["1024x1024", "512x512", "256x256"], most: 10, quality: [], takes: [], square: true },
  "dall-e-3": { sizes: ["1024x1024", "1792x1024", "1024x1792"], most: 1, quality: ["standard", "hd"], takes: ["style"] },
  "gpt-image": GPT,
  "gpt-image-2": { ...GPT, own: true },
  other: { sizes: ["auto", "256x256", "512x512", "1024x1024", "1536x1024", "1024x1536"], most: 10, own: true, quality: ["auto", "low", "medium", "high"], takes: ["style", "background", "format", "compression", "partial"] },
};

/** own: any size. takes: fields beside the size and the number. */
export function family(model) {
  return FAMILIES[named(model)];
}

/** Their answers are bytes always; of all others one has to ask for them. */
export const isGPT = (model) => named(model).startsWith("gpt");

/** Whether one sees its pictures come. option: of a select of models. What is composed (it has a description) is there
 * at once, and says in words what was understood, which events do not. */
export const sees = (option) => Boolean(option.dataset.root && !option.dataset.description && family(option.value).takes.includes("partial"));

function named(model) {
  if (model.startsWith("gpt-image-2")) return "gpt-image-2";
  if (/^(chat)?gpt-image/.test(model)) return "gpt-image";
  return model.startsWith("dall-e-2") ? "dall-e-2" : model.startsWith("dall-e-3") ? "dall-e-3" : "other";
}
