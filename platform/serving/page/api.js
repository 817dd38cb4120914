// Talks to the endpoint, like any other client.

export class Refused extends Error {
  constructor({ message, param }, status) {
    super(message);
    this.param = param;
    this.status = status;
  }
}

/** The JSON or stream that a route answers with; throws Refused for an error, TypeError where nothing answers. */
export async function call(route, token, options = {}) {
  const headers = { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(route, { ...options, headers });
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(body.error ?? { message: `The endpoint answered ${response.status}.` }, response.status);
}

/** The events of one request, as they arrive. Aborting `signal` makes the endpoint stop as well. */
export async function* imageEvents(request, token, signal) {
  const body = JSON.stringify({ ...request, stream: true });
  const response = await call("v1/images/generations", token, { method: "POST", body, signal });
  for await (const event of serverSent(response.body)) {
    if (event.error) throw new Refused(event.error, response.status);
    yield event;
    if (event.type === "image_generation.completed") return;
  }
  throw new Refused({ message: "The answer broke off before the image was done." }, response.status);
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
