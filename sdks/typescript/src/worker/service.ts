/** What a worker can run: decided from its handlers, its templates and its settings. */

import type { HandlerSource } from './step-execution-subscriber.js';
import type { HandlerReference, RegisteredTemplates } from './templates.js';

/** Handlers, and the names by which templates may call them. */
export interface HandlerCatalogue extends HandlerSource {
  listCallables(): string[];
}

/** What a worker asks for. */
export interface Service {
  /** What it has handlers for. */
  readonly callables: readonly string[];
  /** Where it takes steps from; null is everywhere. */
  readonly namespaces: readonly string[] | null;
  /** What its templates call and it has no handler for; other workers have to run that. */
  readonly missing: readonly string[];
}

/**
 * Return what a worker can run.
 *
 * @param namespaces those to serve besides those of the templates.
 */
export async function findService(
  handlers: HandlerCatalogue,
  templates: RegisteredTemplates,
  namespaces: readonly string[],
): Promise<Service> {
  const missing = new Set<string>();
  for (const reference of templates.handlers) {
    if (!(await hasHandler(handlers, reference))) {
      missing.add(reference.callable);
    }
  }
  const called = templates.handlers.map((reference) => reference.callable);
  const callables = new Set([...handlers.listCallables(), ...called].filter((name) => !missing.has(name)));
  const served = new Set([...templates.namespaces, ...namespaces]);
  return {
    callables: [...callables].sort(),
    namespaces: served.size > 0 ? [...served].sort() : null,
    missing: [...missing].sort(),
  };
}

async function hasHandler(handlers: HandlerCatalogue, reference: HandlerReference): Promise<boolean> {
  try {
    return (await handlers.resolve({ ...reference, initialization: {} })) !== null;
  } catch {
    // An unknown resolver or method.
    return false;
  }
}
