/** Templates of an application: found in files, and registered with the server as they are. */

import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import type { HttpConnection } from '../client/http.js';
import { createLogger } from '../logging/index.js';
import { readAnswer } from './calls.js';
import { AccessRefusedError, RequestRefusedError, WorkerSetupError } from './errors.js';

/** Where templates are looked for if nothing is said. */
const DEFAULT_DIRECTORY = join('config', 'tasks');

/** Milliseconds until a registration counts as failed. */
const REGISTER_MS = 30_000;

const log = createLogger({ logger: 'tasker.worker' });

/** What a step of a template calls. */
export interface HandlerReference {
  readonly callable: string;
  readonly method: string | null;
  readonly resolver: string | null;
}

/** What the registered templates are about. */
export interface RegisteredTemplates {
  readonly handlers: readonly HandlerReference[];
  readonly namespaces: readonly string[];
}

interface Answer {
  readonly namespace: string;
  readonly handlers: readonly HandlerReference[];
}

/**
 * Return the template files of an application, by name.
 *
 * @param path a file or a directory; null is `config/tasks`, if that exists.
 * @throws WorkerSetupError if there is no such path.
 */
export async function findTemplates(path: string | null): Promise<string[]> {
  if (path === null) {
    return existsSync(DEFAULT_DIRECTORY) ? await templatesBelow(DEFAULT_DIRECTORY) : [];
  }
  if (!existsSync(path)) {
    throw new WorkerSetupError(`there are no templates at ${path}: no such file or directory`);
  }
  return (await stat(path)).isDirectory() ? await templatesBelow(path) : [path];
}

/**
 * Register templates with the server.
 *
 * A credential that may not register them is no error: then somebody else has to.
 *
 * @throws WorkerSetupError if the server does not take one; ServerUnavailableError if it cannot be reached.
 */
export async function registerTemplates(
  connection: HttpConnection,
  files: readonly string[],
): Promise<RegisteredTemplates> {
  const handlers: HandlerReference[] = [];
  const namespaces = new Set<string>();
  for (const file of files) {
    const answer = await registerTemplate(connection, file);
    if (answer !== null) {
      handlers.push(...answer.handlers);
      namespaces.add(answer.namespace);
    }
  }
  return { handlers, namespaces: [...namespaces] };
}

async function registerTemplate(connection: HttpConnection, file: string): Promise<Answer | null> {
  const body = await readFile(file, 'utf8');
  const request = { method: 'POST', path: '/v1/templates', body, contentType: 'application/yaml' };
  try {
    return await readAnswer<Answer>(connection, { ...request, timeoutMs: REGISTER_MS });
  } catch (error) {
    if (error instanceof RequestRefusedError) {
      throw new WorkerSetupError(`${file}: ${error.message}`);
    }
    if (error instanceof AccessRefusedError && error.status === 403) {
      log.warn('template_not_registered', { template: file, reason: error.message });
      return null;
    }
    throw error;
  }
}

async function templatesBelow(directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) {
      found.push(...(await templatesBelow(path)));
    } else if (/\.ya?ml$/.test(entry.name)) {
      found.push(path);
    }
  }
  return found.sort();
}
