// Shows an OpenAPI document: its operations by service, found by words, each with parameters, bodies and responses.

const MOST_LEVELS = 6; // of messages inside messages that are listed

const api = await (await fetch("openapi.json")).json();

/** Makes an element. Text is always text: nothing of the document becomes markup. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function resolved(schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((at, step) => at[step], api);
}

function typeOf(schema) {
  if (schema?.$ref) return schema.$ref.split("/").at(-1).split(".").at(-1);
  if (schema?.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema?.const !== undefined) return JSON.stringify(schema.const);
  const type = [schema?.type ?? "any"].flat().join(" or ");
  if (schema?.type === "array") return `list of ${typeOf(schema.items)}`;
  if (schema?.additionalProperties) return `map of ${typeOf(schema.additionalProperties)}`;
  return schema?.format ? `${type} (${schema.format})` : type;
}

function words(schema) {
  const made = resolved(schema?.items ?? schema);
  return made.enum ? `One of ${made.enum.join(", ")}.` : "";
}

function table(heads, rows) {
  const cells = (row) => row.map((cell) => element("td", {}, cell));
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
}

/** A comment as its author's paragraphs and lists: single line breaks are the proto file's. */
function flowing(comment) {
  return (comment ?? "").replace(/([^\n])\n(?!\n|- )/g, "$1 ");
}

function described(comment, schema) {
  return element("p", {}, [flowing(comment), words(schema)].filter(Boolean).join("\n"));
}

/** The members of an object, those of objects inside it with dotted names. */
function members(schema, prefix = "", level = 0, above = []) {
  const made = resolved(schema);
  if (!made.properties || level > MOST_LEVELS) return [];
  return Object.entries(made.properties).flatMap(([name, member]) => {
    const here = prefix + name;
    const inside = member.items ?? member.additionalProperties ?? member;
    const suffix = member.items ? "[]." : member.additionalProperties ? "{}." : ".";
    const rows = [[element("code", {}, here), typeOf(member), described(member.description, member)]];
    if (inside?.$ref && !above.includes(inside.$ref)) {
      rows.push(...members(inside, here + suffix, level + 1, [...above, inside.$ref]));
    }
    return rows;
  });
}

function content(bodies) {
  return Object.entries(bodies ?? {}).map(([type, { schema }]) => {
    const inside = schema?.type === "array" ? schema.items : schema;
    const rows = members(inside, "", 0, inside?.$ref ? [inside.$ref] : []);
    const head = element("p", {}, element("code", {}, type), ` ${typeOf(schema)}`);
    return element("div", {}, head, rows.length ? table(["Member", "Type", "Meaning"], rows) : null);
  });
}

function curl(method, path, operation) {
  const parts = [`curl -X ${method.toUpperCase()} '${location.origin}${path}'`];
  if (operation.security?.length) parts.push("-H 'Authorization: Bearer KEY'");
  const type = Object.keys(operation.requestBody?.content ?? {})[0];
  if (type === "multipart/form-data") parts.push("-F 'file=@FILE'");
  else if (type === "application/json") parts.push(`-H 'Content-Type: ${type}'`, "-d '{}'");
  else if (type) parts.push("--data-binary @FILE");
  return parts.join(" \\\n  ");
}

function inside(method, path, operation) {
  const made = element("div", { className: "inside" });
  if (operation.description) made.append(element("p", { className: "comment" }, flowing(operation.description)));
  if (operation.parameters?.length) {
    const rows = operation.parameters.map((each) => [
      element("code", {}, each.name),
      each.required ? `${each.in}, required` : each.in,
      typeOf(each.schema),
      described(each.description, each.schema),
    ]);
    made.append(element("h3", {}, "Parameters"), table(["Name", "In", "Type", "Meaning"], rows));
  }
  if (operation.requestBody) made.append(element("h3", {}, "Body"), ...content(operation.requestBody.content));
  const frames = operation["x-websocket"];
  if (frames) {
    const sides = Object.entries(frames).map(([side, schema]) => [side, { schema }]);
    made.append(element("h3", {}, "Frames of the WebSocket"), ...content(Object.fromEntries(sides)));
  }
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    made.append(element("h3", {}, `${status}: ${response.description}`), ...content(response.content));
    const headers = Object.entries(response.headers ?? {});
    if (headers.length) {
      const rows = headers.map(([name, each]) => [element("code", {}, name), typeOf(each.schema), flowing(each.description)]);
      made.append(table(["Header", "Type", "Meaning"], rows));
    }
  }
  made.append(element("h3", {}, "Try it"), element("pre", {}, curl(method, path, operation)));
  return made;
}

function operationView({ method, path, operation }) {
  const summary = element(
    "summary",
    {},
    element("span", { className: `method ${method}` }, method.toUpperCase()),
    element("span", { className: "path" }, path),
    element("span", { className: "said" }, operation.summary ?? ""),
  );
  const view = element("details", { className: "operation", id: operation.operationId }, summary);
  // What is inside is made when somebody looks: a large API has thousands of rows.
  view.addEventListener("toggle", () => {
    if (view.open && view.children.length === 1) view.append(inside(method, path, operation));
  });
  return view;
}

const operations = Object.entries(api.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
);

function show(wanted) {
  const terms = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = ({ method, path, operation }) => {
    const text = `${method} ${path} ${operation.summary ?? ""} ${operation.tags}`.toLowerCase();
    return terms.every((term) => text.includes(term));
  };
  const views = [];
  const links = [];
  for (const tag of api.tags ?? []) {
    const found = operations.filter((each) => each.operation.tags?.includes(tag.name) && matches(each));
    if (!found.length) continue;
    // A long name breaks behind its dots.
    links.push(element("a", { href: `#${tag.name}` }, tag.name.replaceAll(".", ".\u200b")));
    views.push(
      element("h2", { id: tag.name }, tag.name),
      element("p", { className: "comment" }, flowing(tag.description)),
      ...found.map(operationView),
    );
  }
  document.querySelector("#tags").replaceChildren(...links);
  document.querySelector("#operations").replaceChildren(...(views.length ? views : [element("p", {}, "Nothing found.")]));
}

document.title = api.info.title;
document.querySelector("#title").textContent = `${api.info.title} ${api.info.version}`;
document.querySelector("#find").addEventListener("input", (event) => show(event.target.value));
show("");

// A link to an operation opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}
addEventListener("hashchange", openTarget);
openTarget();
