/**
 * Run Tasker steps in TypeScript: handlers, a worker and a client, over the worker protocol.
 *
 * @packageDocumentation
 */

export * from './bootstrap/index.js';
export * from './client/index.js';
export * from './domain-events/index.js';
export * from './dsl/index.js';
export * from './events/index.js';
export * from './ffi.js';
export * from './handler/index.js';
export * from './logging/index.js';
export * from './registry/index.js';
export * from './types/index.js';
export type { JsonObject, LeaseItem, WireCheckpointYield, WireCompletion, WireResult } from './wire.js';
export * from './worker/index.js';
