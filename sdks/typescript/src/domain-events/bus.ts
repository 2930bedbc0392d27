import { processWide } from '../types/process-wide.js';
import type { DomainEvent } from './types.js';

type Listener = (event: DomainEvent) => void;

/** The pollers that wait for what publishers of this process publish. */
function listeners(): Set<Listener> {
  return processWide('domain-event-listeners', () => new Set<Listener>());
}

/** Hands an event to all listeners of this process. */
export function emitDomainEvent(event: DomainEvent): void {
  for (const listener of listeners()) listener(event);
}

/** Adds a listener and returns what removes it. */
export function listenToDomainEvents(listener: Listener): () => void {
  listeners().add(listener);
  return () => listeners().delete(listener);
}
