/** The worker of the live pack: handlers that try every part of the SDK against a real server. */

import { WorkerServer } from '../src/index.js';
import { configureLogging } from '../src/logging/index.js';
import { runProcess } from '../src/worker/run-process.js';
import { HANDLERS } from './handlers.js';

configureLogging({ format: 'json' });
const server = new WorkerServer();
for (const handler of HANDLERS) {
  server.getHandlerSystem().register(handler.handlerName, handler);
}
process.exitCode = await runProcess('live-worker', server);
// Handlers that do not end by themselves must not keep the process.
process.exit();
