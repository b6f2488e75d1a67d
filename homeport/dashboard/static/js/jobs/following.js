// All events of a fine-tuning job, the oldest first, and then each as it comes: from the stream, and where there is none
// (a proxy in between that holds it back, a server that is being ended) by asking again and again.
import { all, APIError, events, request } from "../core/api.js";

const SECONDS = 2;

/** tell(events): some that are new. Ends with the job. Raises APIError: it is not there, or not to be seen. */
export async function follow(job, tell) {
  const path = `/v1/fine_tuning/jobs/${job}`;
  let last;
  const told = (some) => {
    if (!some.length) return;
    last = some.at(-1).id;
    tell(some);
  };
  for (;;) {
    try {
      for await (const some of together(events(`${path}/events`, { method: "GET", query: { stream: "true", after: last } }))) told(some);
    } catch (error) {
      if (error instanceof APIError && error.status < 500) throw error;
    }
    const { finished_at: end } = await request(path).catch(() => ({ finished_at: null }));
    const missed = await since(path, last).catch(() => null);
    if (missed) told(missed);
    if (end !== null && missed) return;
    await new Promise((resolve) => setTimeout(resolve, 1000 * SECONDS));
  }
}

/** What the list has that was not told yet: it begins with the latest. */
async function since(path, last) {
  if (last === undefined) return (await all(`${path}/events`, { most: Infinity })).reverse();
  const found = [];
  let after;
  for (;;) {
    const page = await request(`${path}/events`, { query: { limit: 100, after } });
    const known = page.data.findIndex((event) => event.id === last);
    found.push(...(known < 0 ? page.data : page.data.slice(0, known)));
    if (known >= 0 || !page.has_more) return found.reverse();
    after = page.data.at(-1).id;
  }
}

/** Those that come at once are told at once: a job that is over may have thousands. */
async function* together(stream) {
  let some = [];
  let end = false;
  let wake = () => {};
  let failure = null;
  const reading = (async () => {
    try {
      for await (const { data } of stream) {
        some.push(data);
        wake();
      }
    } catch (error) {
      failure = error;
    }
    end = true;
    wake();
  })();
  while (!end || some.length) {
    if (!some.length) await new Promise((resolve) => (wake = resolve));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = some;
    some = [];
    if (now.length) yield now;
  }
  await reading;
  if (failure) throw failure;
}
