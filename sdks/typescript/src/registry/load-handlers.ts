/** Finding handler classes in files. */

import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StepHandlerClass } from '../handler/step-handler.js';
import { logWarn } from '../logging/index.js';

type Module = Record<string, unknown>;

const INDEXES = ['examples/index.js', 'examples/index.ts', 'index.js', 'index.ts'];
const DSL_INDEXES = ['dsl_examples/index.js', 'dsl_examples/index.ts'];

/** The handler classes of a file or a directory. */
export async function loadHandlers(path: string): Promise<StepHandlerClass[]> {
  const root = resolve(path);
  if (!existsSync(root)) throw new Error(`there are no handlers at ${path}: no such file or directory`);
  if (!(await stat(root)).isDirectory()) return handlersOfFile(root);
  const indexed = [...(await handlersOfFirst(root, INDEXES)), ...(await handlersOfFirst(root, DSL_INDEXES))];
  return indexed.length > 0 ? indexed : handlersBelow(root);
}

async function handlersOfFirst(root: string, candidates: string[]): Promise<StepHandlerClass[]> {
  const index = candidates.map((name) => join(root, name)).find(existsSync);
  return index === undefined ? [] : handlersOfFile(index);
}

async function handlersBelow(directory: string): Promise<StepHandlerClass[]> {
  const found: StepHandlerClass[] = [];
  for (const entry of (await readdir(directory, { withFileTypes: true })).sort(byName)) {
    const path = join(directory, entry.name);
    if (entry.name.startsWith('_') || entry.name.startsWith('.') || entry.name === 'node_modules') continue;
    if (entry.isDirectory()) found.push(...(await handlersBelow(path)));
    else if (isHandlerFile(path)) found.push(...(await handlersOfFile(path)));
  }
  return found;
}

function byName(one: { name: string }, other: { name: string }): number {
  return one.name < other.name ? -1 : 1;
}

function isHandlerFile(path: string): boolean {
  if (!/\.(js|mjs|ts|mts)$/.test(path) || /\.(d|test|spec)\.\w+$/.test(path)) return false;
  // The source of a compiled module would be the same handlers again.
  return !/\.m?ts$/.test(path) || !existsSync(path.replace(/ts$/, 'js'));
}

async function handlersOfFile(path: string): Promise<StepHandlerClass[]> {
  const module = await importFile(path);
  const listed = [module['ALL_EXAMPLE_HANDLERS'], module['ALL_DSL_HANDLERS']].filter(Array.isArray).flat() as unknown[];
  const candidates = listed.length > 0 ? listed : Object.values(module);
  return [...new Set(candidates)].filter(isNamedHandler);
}

async function importFile(path: string): Promise<Module> {
  try {
    return (await import(pathToFileURL(path).href)) as Module;
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_UNKNOWN_FILE_EXTENSION') {
      logWarn('handler_file_skipped', { file: path, reason: 'this runtime does not run TypeScript: compile it first' });
      return {};
    }
    throw new Error(`cannot load handlers from ${basename(path)}: ${String(error)}`, { cause: error });
  }
}

function isNamedHandler(value: unknown): value is StepHandlerClass {
  const named = value as { handlerName?: unknown };
  return typeof value === 'function' && typeof named.handlerName === 'string' && named.handlerName !== '';
}
