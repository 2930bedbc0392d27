/** Why a worker's call to the server failed, by what is to be done about it. */

/** The server cannot answer just now; another try may help. */
export class ServerUnavailableError extends Error {
  override name = 'ServerUnavailableError';

  /**
   * @param message what happened.
   * @param retryAfterSeconds how long the server asks to wait; null if it does not say.
   */
  constructor(
    message: string,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }
}

/** The server does not let the worker in, or is no Tasker server. */
export class AccessRefusedError extends Error {
  override name = 'AccessRefusedError';

  /**
   * @param message what the server said.
   * @param status the answer's status; 0 if it is not known.
   */
  constructor(
    message: string,
    readonly status = 0,
  ) {
    super(message);
  }
}

/** The server does not know the worker, or not any more. */
export class WorkerUnknownError extends Error {
  override name = 'WorkerUnknownError';
}

/** The request is wrong by itself; repeating it does not help. */
export class RequestRefusedError extends Error {
  override name = 'RequestRefusedError';

  /**
   * @param message what the server said.
   * @param status the answer's status.
   */
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** The worker cannot start as it is set up: a setting, a template or a handler file is wrong. */
export class WorkerSetupError extends Error {
  override name = 'WorkerSetupError';
}
