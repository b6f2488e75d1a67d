// What "Insert an example" inserts.

export const TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city, now",
      parameters: {
        type: "object",
        properties: { city: { type: "string" }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } },
        required: ["city"],
        additionalProperties: false,
      },
    },
  },
];

export const SCHEMA = {
  name: "recipe",
  strict: true,
  schema: {
    type: "object",
    properties: { title: { type: "string" }, minutes: { type: "integer" }, ingredients: { type: "array", items: { type: "string" } } },
    required: ["title", "minutes", "ingredients"],
    additionalProperties: false,
  },
};
