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
  StepExecutionSubscriber,
  type HandlerSource,
  type StepExecutionSubscriberConfig,
} from './step-execution-subscriber.js';
export { PROTOCOL_VERSION, VERSION } from './version.js';
export {
  createWorkerServer,
  ServerStates,
  WorkerServer,
  type ServerComponents,
  type ServerHealthCheckResult,
  type ServerState,
  type ServerStatus,
} from './worker-server.js';
