// Numbers, money, sizes and times, as templates.py says them.

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const PARTS = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const number = (value) => (value === null || value === undefined ? "–" : (Number.isInteger(value) ? WHOLE : PARTS).format(value));
export const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`);

/** Dollars: two digits, more where they would say 0.00. */
export function money(value) {
  if (value === null || value === undefined) return "–";
  const dollars = Number(value);
  if (dollars === 0 || Math.abs(dollars) >= 0.01) return `$${dollars.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;
  return Math.abs(dollars) < 1e-6 ? `$${dollars.toPrecision(2)}` : `$${dollars.toFixed(6).replace(/0+$/, "")}`;
}

/** Bytes, in units of 1,000. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${bytes.toFixed(unit === 0 || bytes >= 100 ? 0 : 1)} ${units[unit]}`;
}

/** `1.2 s`, `3 min 4 s`. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(1000 * seconds)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** seconds: since 1970. */
export function moment(seconds) {
  const made = document.createElement("time");
  made.dateTime = new Date(1000 * seconds).toISOString();
  localize(made);
  return made;
}

/** Times that the server has said in UTC. */
export function localize(within) {
  const found = within.matches?.("time") ? [within] : within.querySelectorAll("time[datetime]");
  for (const time of found) {
    time.textContent = MOMENT.format(new Date(time.dateTime));
    time.title = time.dateTime;
  }
}
