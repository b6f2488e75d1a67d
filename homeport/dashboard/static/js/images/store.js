// Where pictures are kept: in this browser, for this tab and the project whose key is used in it, a day at most. Where
// it keeps nothing, in memory alone.

const DAY = 24 * 3600 * 1000;
const TAB = "homeport.tab";

function tab() {
  let mine = sessionStorage.getItem(TAB);
  if (!mine) sessionStorage.setItem(TAB, (mine = crypto.randomUUID?.() ?? String(Math.random())));
  return mine;
}

function opened() {
  return new Promise((resolve, reject) => {
    const asked = indexedDB.open("homeport.pictures", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("pictures", { keyPath: "id" });
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

const done = (asked) => new Promise((resolve, reject) => ((asked.onsuccess = () => resolve(asked.result)), (asked.onerror = () => reject(asked.error))));

async function use(mode, act) {
  try {
    const database = await opened();
    try {
      const transaction = database.transaction("pictures", mode);
      const ended = new Promise((resolve, reject) => ((transaction.oncomplete = resolve), (transaction.onabort = reject)));
      const [found] = await Promise.all([act(transaction.objectStore("pictures")), ended]);
      return found;
    } finally {
      database.close();
    }
  } catch {
    return null;
  }
}

const project = () => document.getElementById("gallery").dataset.project;

export function keep(picture) {
  const row = { ...picture, tab: tab(), project: project() };
  return use("readwrite", (pictures) => done(pictures.put(row)));
}

export const forget = (id) => use("readwrite", (pictures) => done(pictures.delete(id)));

/** Of this tab and project, the newest first. */
export async function kept() {
  const all = (await use("readonly", (pictures) => done(pictures.getAll()))) ?? [];
  const old = all.filter((one) => one.at < Date.now() - DAY);
  await Promise.all(old.map((one) => forget(one.id)));
  return all.filter((one) => one.tab === tab() && one.project === project() && !old.includes(one)).sort((a, b) => b.at - a.at);
}
