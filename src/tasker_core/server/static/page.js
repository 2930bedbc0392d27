"use strict";
// Shows openapi.json: routes by tag, each with its parameters, bodies and answers.

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// A schema as a short text like {name: string, tags?: [string]}.
function shape(schema, all, seen = []) {
  if (!schema) return "any";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) || seen.length > 3 ? name : shape(all[name], all, [...seen, name]);
  }
  const choice = schema.anyOf || schema.oneOf;
  if (choice) return choice.map((one) => shape(one, all, seen)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return "[" + shape(schema.items, all, seen) + "]";
  if (schema.properties) {
    const required = schema.required || [];
    const indent = "  ".repeat(seen.length || 1);
    const fields = Object.entries(schema.properties).map(
      ([name, one]) => indent + name + (required.includes(name) ? "" : "?") + ": " + shape(one, all, seen.length ? seen : [""]));
    return "{\n" + fields.join(",\n") + "\n" + indent.slice(2) + "}";
  }
  return (schema.type || "any") + (schema.format ? " (" + schema.format + ")" : "");
}

function contentOf(part, all) {
  return Object.entries(part.content || {}).map(([type, one]) => type + "\n" + shape(one.schema, all)).join("\n");
}

function route(path, method, operation, all) {
  const block = element("details");
  const head = element("summary");
  head.append(element("span", method.toUpperCase(), "method " + method.toUpperCase()), element("code", path));
  head.append(element("span", "  " + (operation.summary || ""), "quiet"));
  const body = element("div");
  if (operation.description) body.append(element("p", operation.description));
  const permission = operation["x-required-permission"];
  body.append(element("p", permission ? "Permission: " + permission : operation.security ? "Any credential" : "Public", "quiet"));
  if ((operation.parameters || []).length) {
    body.append(element("h3", "Parameters"));
    const table = element("table");
    for (const one of operation.parameters) {
      const row = element("tr");
      const cells = [one.name + (one.required ? "" : "?"), one.in, shape(one.schema, all), one.description || ""];
      row.append(...cells.map((text) => element("td", text)));
      table.append(row);
    }
    body.append(table);
  }
  if (operation.requestBody) body.append(element("h3", "Body"), element("pre", contentOf(operation.requestBody, all)));
  body.append(element("h3", "Answers"));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const one = element("details");
    const inside = element("div");
    inside.append(element("pre", contentOf(answer, all)));
    one.append(element("summary", status + "  " + (answer.description || "")), inside);
    body.append(one);
  }
  block.append(head, body);
  block.dataset.words = [path, method, permission, operation.summary].join(" ").toLowerCase();
  return block;
}

function show(api) {
  const all = (api.components || {}).schemas || {};
  const sections = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (!operation.responses) continue;
      const tag = (operation.tags || ["other"])[0];
      if (!sections.has(tag)) {
        const section = element("section");
        section.append(element("h2", tag));
        sections.set(tag, section);
      }
      sections.get(tag).append(route(path, method, operation, all));
    }
  }
  document.getElementById("title").textContent = api.info.title + " " + api.info.version;
  document.getElementById("description").textContent = api.info.description || "";
  document.getElementById("routes").replaceChildren(...sections.values());
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const block of document.querySelectorAll("details[data-words]")) {
    block.hidden = !block.dataset.words.includes(wanted);
  }
});

fetch("openapi.json").then((answer) => answer.json()).then(show, (error) => {
  document.getElementById("routes").textContent = "openapi.json cannot be read: " + error;
});
