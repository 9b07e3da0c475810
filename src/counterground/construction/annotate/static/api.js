// Requests to the server. Refused: it will never work as it is. Unreachable: it may work later.
// Each says which pool and annotator the page belongs to: another server may have taken the port since.

export const page = document.body.dataset;

export class Refused extends Error {}

export class Unreachable extends Error {}

const AWAY = [401, 403, 404, 405, 409]; // another program at this port answers 404 or 405

export const photoAddress = (row) => `/photo/${row}?pool=${encodeURIComponent(page.pool)}`;

export async function post(name, body) {
  let answer;
  try {
    answer = await fetch(`/api/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ annotator: page.annotator, pool: page.pool, ...body }),
    });
  } catch {
    throw new Unreachable("The server cannot be reached.");
  }
  const content = await answer.json().catch(() => ({}));
  if (answer.ok) return content;
  if (AWAY.includes(answer.status) || answer.status >= 500) throw new Unreachable(content.error ?? "The server failed.");
  throw new Refused(content.error ?? `The server answered ${answer.status}.`);
}

// A UUID; `crypto.randomUUID` is missing where the page came over a network without TLS.
export function newToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
