/** The worker: runs handlers for a Tasker server. */

export {
  AccessRefusedError,
  RequestRefusedError,
  ServerUnavailableError,
  WorkerSetupError,
} from './errors.js';
export type { WorkerServerConfig } from './settings.js';
export { ShutdownController, type ShutdownHandler } from './shutdown-controller.js';
export {
  type HandlerSource,
  StepExecutionSubscriber,
  type StepExecutionSubscriberConfig,
} from './step-execution-subscriber.js';
export { PROTOCOL_VERSION, VERSION } from './version.js';
export {
  createWorkerServer,
  type ServerComponents,
  type ServerHealthCheckResult,
  type ServerState,
  ServerStates,
  type ServerStatus,
  WorkerServer,
} from './worker-server.js';
