// Talks to the endpoint, like any other client.

export class Refused extends Error {
  constructor({ message, param }, status) {
    super(message);
    this.param = param;
    this.status = status;
  }
}

/** The answer of a route; throws Refused for an error, TypeError where nothing answers. */
export async function call(route, token, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(route, { ...options, headers });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(body.error ?? { message: `The endpoint answered ${response.status}.` }, response.status);
}

/** The events of one image being made, as they arrive. Aborting `signal` makes the endpoint stop as well. */
export function generationEvents(request, token, signal) {
  const body = JSON.stringify({ ...request, stream: true });
  const headers = { "Content-Type": "application/json" };
  return imageEvents("v1/images/generations", token, { method: "POST", body, headers, signal });
}

/** The same of an edit. `files` holds the image, and the mask if there is one. */
export function editEvents(request, files, token, signal) {
  const body = new FormData();
  for (const [name, value] of Object.entries({ ...request, stream: true })) if (value !== null) body.append(name, value);
  for (const [name, file] of Object.entries(files)) body.append(name, file, `${name}.png`);
  return imageEvents("v1/images/edits", token, { method: "POST", body, signal });
}

async function* imageEvents(route, token, options) {
  const response = await call(route, token, options);
  for await (const event of serverSent(response.body)) {
    if (event.error) throw new Refused(event.error, response.status);
    yield event;
    if (isDone(event)) return;
  }
  throw new Refused({ message: "The answer broke off before the image was done." }, response.status);
}

export function isDone(event) {
  return event.type.endsWith(".completed");
}

async function* serverSent(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").find((line) => line.startsWith("data: "));
      if (data) yield JSON.parse(data.slice("data: ".length));
    }
  }
}
