// Lists the routes that /openapi.json describes.

document.querySelector("#example").textContent = `from openai import OpenAI

client = OpenAI(base_url="${location.origin}/v1", api_key="token, if it asks for one")
answer = client.images.generate(prompt="3", extra_body={"seed": 1, "steps": 20})
print(answer.data[0].b64_json)`;

const { paths, components } = await (await fetch("openapi.json")).json();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, route] of Object.entries(methods)) {
    document.querySelector("main").append(described(`${method.toUpperCase()} ${path}`, route));
  }
}

function described(title, route) {
  const section = document.createElement("section");
  section.append(text("h2", title), text("p", route.description ?? ""));
  const schema = Object.values(route.requestBody?.content ?? {})[0]?.schema;
  if (schema) section.append(fields(components.schemas[schema.$ref.split("/").pop()]));
  return section;
}

function fields({ properties, required = [] }) {
  const table = document.createElement("table");
  for (const [name, field] of Object.entries(properties)) {
    const row = table.insertRow();
    const heading = text("th", name);
    heading.scope = "row";
    row.append(heading, text("td", allowed(field, required.includes(name))), text("td", field.description ?? ""));
  }
  return table;
}

/** A field's type, limits and default, in words. */
function allowed(field, required) {
  const kind = field.anyOf?.find(({ type }) => type !== "null") ?? field;
  const values = kind.enum?.join(", ") ?? kind.const ?? kind.type;
  const { minimum, maximum } = kind;
  const limits = minimum === undefined ? "" : maximum === undefined ? `, ${minimum} or more` : `, ${minimum} to ${last(maximum)}`;
  const fallback = field.default === undefined || field.default === null ? "" : `; ${field.default} if left out`;
  return `${values}${limits}${required ? "; required" : fallback}`;
}

/** A limit as digits, or as a power where JavaScript has no exact digits for it. */
function last(maximum) {
  return maximum > Number.MAX_SAFE_INTEGER ? `2^${Math.round(Math.log2(maximum))} − 1` : maximum;
}

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}
