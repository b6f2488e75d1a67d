// Libraries (libraries.toml), loaded when something needs them.

const base = new URL("../../vendor/", import.meta.url);
const scripts = new Map();

/** A module. */
export const module = (file) => import(new URL(file, base));

/** A classic script, and the global that it makes. */
export function script(file, name) {
  if (!scripts.has(file)) {
    const element = document.createElement("script");
    element.src = new URL(file, base);
    const loaded = new Promise((resolve, reject) => {
      element.onload = () => resolve(globalThis[name]);
      element.onerror = () => reject(new Error(`${file} cannot be loaded.`));
    });
    scripts.set(file, loaded);
    document.head.append(element);
  }
  return scripts.get(file);
}

export function style(file) {
  const href = String(new URL(file, base));
  if (document.querySelector(`link[href="${href}"]`)) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = href;
  document.head.append(link);
}
