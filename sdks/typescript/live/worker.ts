/** The worker of the live pack: handlers that try every part of the SDK against a real server. */

import { configureLogging } from '../src/logging/index.js';
import { WorkerServer } from '../src/index.js';
import { HANDLERS } from './handlers.js';

configureLogging({ format: 'json' });
const server = new WorkerServer();
for (const handler of HANDLERS) {
  server.getHandlerSystem().register(handler.handlerName, handler);
}
let signalled = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (signalled) {
      process.exit(signal === 'SIGINT' ? 130 : 143);
    }
    signalled = true;
    void server.shutdown();
  });
}
await server.start();
await server.waitUntilStopped();
process.exit();
