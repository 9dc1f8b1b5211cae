// Draws openapi.json. Text from the document only ever becomes text nodes.
"use strict";

const METHODS = ["get", "post", "put", "delete"];
const main = document.getElementById("main");
const nav = document.getElementById("nav");
const filter = document.getElementById("filter");
let schemas = {};

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Plain text with `code` spans. */
function prose(text) {
  return (text || "").split("`").map((part, at) => (at % 2 ? element("code", {}, part) : part));
}

function paragraphs(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => element("p", {}, prose(part)));
}

/** Follows references, and drops the "or null" alternative, which here only means optional. */
function resolve(schema, seen = []) {
  if (!schema) return { schema: {}, name: null };
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (seen.includes(name)) return { schema: {}, name };
    const inner = resolve(schemas[name], [...seen, name]);
    return { schema: { ...inner.schema, description: schema.description || inner.schema.description }, name };
  }
  for (const key of ["oneOf", "anyOf", "allOf"]) {
    const real = (schema[key] || []).filter((option) => option.type !== "null");
    if (real.length === 1) {
      const inner = resolve(real[0], seen);
      return { ...inner, schema: { ...inner.schema, description: schema.description || inner.schema.description } };
    }
  }
  return { schema, name: null };
}

function typeName(schema) {
  const found = resolve(schema);
  const inner = found.schema;
  const types = [].concat(inner.type || []).filter((type) => type !== "null");
  if (types[0] === "array") return typeName(inner.items) + "[]";
  if (found.name) return found.name;
  if (inner.oneOf || inner.anyOf) return (inner.oneOf || inner.anyOf).map(typeName).join(" | ");
  const plain = types.join(" | ") || "any";
  const format = inner.format && !["int32", "int64", "double", "float"].includes(inner.format) ? ` (${inner.format})` : "";
  return plain + format;
}

/** The object schema whose fields are worth showing below a field, if any. */
function fieldsOf(schema) {
  const inner = resolve(schema).schema;
  if ([].concat(inner.type || []).includes("array")) return fieldsOf(inner.items);
  return inner.properties ? inner : null;
}

function hints(schema) {
  const { schema: inner } = resolve(schema);
  const notes = [];
  if (inner.enum) notes.push("one of " + inner.enum.filter((value) => value !== null).join(", "));
  if (inner.minimum !== undefined && inner.minimum !== 0) notes.push("at least " + inner.minimum);
  if (inner.maximum !== undefined) notes.push("at most " + inner.maximum);
  // Zero, false and empty say no more than that the field may be absent.
  if (schema.default && String(schema.default)) notes.push("default " + JSON.stringify(schema.default));
  return notes.length ? element("span", { class: "hint" }, " " + notes.join("; ")) : null;
}

function fieldTable(schema, seen = [], showNeed = true) {
  const names = Object.keys(schema.properties || {});
  if (!names.length) return element("p", { class: "none" }, "An object without fields.");
  const required = schema.required || [];
  const rows = names.flatMap((name) => {
    const field = schema.properties[name];
    const own = field.description || resolve(field).schema.description;
    const about = element("td", {}, paragraphs(own), hints(field));
    const label = typeName(field);
    const need = showNeed && required.includes(name) ? element("span", { class: "need" }, "required") : null;
    const row = element("tr", {}, element("td", {}, element("code", { class: "field" }, name), need), element("td", { class: "type" }, label), about);
    const inner = fieldsOf(field);
    if (!inner || seen.includes(label)) return [row];
    const below = element("details", {}, element("summary", {}, "Fields of " + label.replace(/\[\]/g, "")));
    below.append(fieldTable(inner, [...seen, label], showNeed));
    return [row, element("tr", { class: "below" }, element("td", { colspan: "3" }, below))];
  });
  return element("div", { class: "scroll" }, element("table", {}, rows));
}

function sample(schema, depth = 0) {
  const { schema: inner, name } = resolve(schema);
  if (inner.example !== undefined) return inner.example;
  if (inner.enum) return inner.enum[0];
  const type = [].concat(inner.type || []).find((one) => one !== "null");
  if (type === "array") return depth > 2 ? [] : [sample(inner.items, depth + 1)];
  if (inner.properties) {
    const keys = Object.keys(inner.properties).filter((key) => depth < 1 || (inner.required || []).includes(key));
    const wanted = keys.filter((key) => (inner.required || []).includes(key));
    return Object.fromEntries((wanted.length ? wanted : keys.slice(0, 3)).map((key) => [key, sample(inner.properties[key], depth + 1)]));
  }
  if (type === "integer" || type === "number") return 1;
  if (type === "boolean") return true;
  if (inner.format === "uuid") return "00000000-0000-0000-0000-000000000000";
  return name || "…";
}

function curl(method, path, operation, body) {
  const lines = ["curl -s"];
  if (operation.security && operation.security.length) lines.push('-H "Authorization: Bearer $TOKEN"');
  if (body) lines.push(`-d '${JSON.stringify(sample(body)).replace(/'/g, "'\\''")}'`);
  else if (method === "post") lines.push("-X POST");
  lines.push(location.origin + path);
  const text = lines.join(" ");
  const button = element("button", { class: "copy", type: "button" }, "copy");
  button.addEventListener("click", () => {
    navigator.clipboard.writeText(text).then(() => (button.textContent = "copied"), () => (button.textContent = "select it"));
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  return element("pre", {}, element("code", {}, text), navigator.clipboard ? button : null);
}

function jsonSchema(holder) {
  return holder && holder.content && Object.values(holder.content)[0] ? Object.values(holder.content)[0].schema : null;
}

function routeCard(method, path, operation, item) {
  const id = method + path;
  const isSecured = Boolean(operation.security && operation.security.length);
  const link = element("a", { class: "path", href: "#" + id }, path);
  const card = element("article", { class: "route", id },
    element("header", {},
      element("h3", {}, element("span", { class: "method " + method }, method.toUpperCase()), link),
      element("span", { class: "badge" }, isSecured ? "needs a token" : "no token")),
    paragraphs(operation.summary), paragraphs(operation.description));

  const parameters = [...(item.parameters || []), ...(operation.parameters || [])];
  if (parameters.length) {
    const rows = parameters.map((one) => element("tr", {},
      element("td", {}, element("code", { class: "field" }, one.name), one.required ? element("span", { class: "need" }, "required") : null),
      element("td", { class: "type" }, `${typeName(one.schema)}, in ${one.in}`),
      element("td", {}, paragraphs(one.description))));
    card.append(element("h4", {}, "Parameters"), element("div", { class: "scroll" }, element("table", {}, rows)));
  }
  const body = jsonSchema(operation.requestBody);
  if (body) card.append(element("h4", {}, "Request"), fieldTable(fieldsOf(body) || {}));

  const answers = Object.entries(operation.responses || {});
  const success = answers.find(([status]) => status === "200");
  const result = success && jsonSchema(success[1]);
  card.append(element("h4", {}, "Result"));
  card.append(result ? fieldTable(fieldsOf(result) || {}, [], false) : element("p", { class: "none" }, (success && success[1].description) || "Nothing."));
  const refusals = answers.filter(([status]) => status !== "200").map(([status, answer]) =>
    element("tr", {}, element("td", { class: "status" }, status), element("td", {}, prose(answer.description))));
  const more = element("details", { class: "more" }, element("summary", {}, "Example and refusals"), curl(method, path, operation, body));
  if (refusals.length) more.append(element("div", { class: "scroll" }, element("table", {}, refusals)));
  card.append(more);
  return { card, id, text: `${method} ${path} ${operation.summary || ""} ${operation.description || ""}`.toLowerCase() };
}

function draw(api) {
  schemas = (api.components && api.components.schemas) || {};
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("title").textContent = api.info.title;
  document.title = api.info.title + " API";
  document.getElementById("wait").remove();
  main.append(element("h1", { id: "top" }, api.info.title + " API"),
    element("div", { class: "lead" }, paragraphs(api.info.description),
      element("p", {}, "For machines: ", element("a", { href: "openapi.json" }, "openapi.json"), ".")));

  const groups = new Map((api.tags || []).map((tag) => [tag.name, { about: tag.description, routes: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((one) => item[one])) {
      const name = (item[method].tags || ["other"])[0];
      if (!groups.has(name)) groups.set(name, { about: "", routes: [] });
      groups.get(name).routes.push(routeCard(method, path, item[method], item));
    }
  }
  const entries = [];
  for (const [name, group] of groups) {
    const heading = element("h2", {}, name);
    const section = element("section", { class: "group" }, element("h2", { id: "group-" + name }, name), element("p", {}, group.about || ""));
    nav.append(heading);
    const links = group.routes.map((route) => {
      const [method, ...rest] = [route.id.slice(0, route.id.indexOf("/")), route.id.slice(route.id.indexOf("/"))];
      const link = element("a", { href: "#" + route.id, title: rest[0] }, element("span", { class: "method " + method }, method.toUpperCase()),
        element("span", { class: "path" }, rest[0]));
      nav.append(link);
      section.append(route.card);
      return { ...route, link };
    });
    main.append(section);
    entries.push({ heading, section, links });
  }
  filter.addEventListener("input", () => narrow(entries));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== filter) {
      event.preventDefault();
      filter.focus();
    }
  });
  follow(entries.flatMap((entry) => entry.links));
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView({ behavior: "instant" });
}

/** Shows the routes that hold every word of the filter. */
function narrow(entries) {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { heading, section, links } of entries) {
    let shown = 0;
    for (const { link, card, text } of links) {
      const fits = words.every((word) => text.includes(word));
      link.hidden = card.hidden = !fits;
      shown += fits;
    }
    heading.hidden = section.hidden = !shown;
  }
}

/** Marks the route being read in the list. */
function follow(links) {
  const byId = new Map(links.map((one) => [one.id, one.link]));
  const watcher = new IntersectionObserver((changes) => {
    for (const change of changes) {
      if (!change.isIntersecting) continue;
      for (const link of byId.values()) link.classList.remove("here");
      const link = byId.get(change.target.id);
      link.classList.add("here");
      link.scrollIntoView({ block: "nearest" });
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const { card } of links) watcher.observe(card);
}

fetch("openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error("status " + answer.status))))
  .then(draw)
  .catch((error) => {
    main.replaceChildren(element("p", {}, "The description of the API could not be loaded: " + error.message));
  });
