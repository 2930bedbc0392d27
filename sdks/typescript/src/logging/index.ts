/** Structured logs on stderr: JSON lines, or readable ones on a terminal. */

/** What a line says besides its message. */
export type LogFields = Record<string, unknown>;

/** How weighty a line is. */
export type LogLevel = 'error' | 'warning' | 'info' | 'debug' | 'trace';

/** How lines look; `auto` is `console` on a terminal and `json` elsewhere. */
export type LogFormat = 'auto' | 'json' | 'console';

/** Writes lines that all carry the same fields. */
export interface Logger {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  trace(message: string, fields?: LogFields): void;
}

const WEIGHTS: Record<LogLevel, number> = { error: 50, warning: 40, info: 30, debug: 20, trace: 10 };

const ALIASES: Record<string, LogLevel> = { warn: 'warning', critical: 'error' };

const DEFAULT_NAME = 'tasker';

interface Settings {
  least: number;
  format: LogFormat;
}

let settings: Settings | null = null;

/**
 * Set how this process logs; what is not given stays as it is.
 *
 * @param options `level`: the least weighty lines to write, `error`, `warning` (or `warn`), `info`, `debug`, `trace` or
 *   `off`; at first what `RUST_LOG` says, else `info`. `format`: at first what `TASKER_LOG_FORMAT` says, else `auto`.
 */
export function configureLogging(options: { level?: string | undefined; format?: string | undefined }): void {
  const { least, format } = current();
  settings = {
    least: options.level ? leastWeight(options.level) : least,
    format: options.format ? asFormat(options.format) : format,
  };
}

/** Whether lines of a level are written. */
export function isLogged(level: LogLevel): boolean {
  return WEIGHTS[level] >= current().least;
}

/** Write an error. */
export function logError(message: string, fields?: LogFields): void {
  write('error', message, fields);
}

/** Write a warning. */
export function logWarn(message: string, fields?: LogFields): void {
  write('warning', message, fields);
}

/** Write what is worth knowing. */
export function logInfo(message: string, fields?: LogFields): void {
  write('info', message, fields);
}

/** Write what helps to find a defect. */
export function logDebug(message: string, fields?: LogFields): void {
  write('debug', message, fields);
}

/** Write every detail. */
export function logTrace(message: string, fields?: LogFields): void {
  write('trace', message, fields);
}

/**
 * Return a logger whose lines all carry `defaultFields`; a line's own fields win.
 *
 * The field `logger` names the part of the program that writes; `tasker` by default.
 */
export function createLogger(defaultFields: LogFields = {}): Logger {
  const writer = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (isLogged(level)) {
      write(level, message, { ...defaultFields, ...fields });
    }
  };
  return {
    error: writer('error'),
    warn: writer('warning'),
    info: writer('info'),
    debug: writer('debug'),
    trace: writer('trace'),
  };
}

function current(): Settings {
  settings ??= {
    least: leastWeight(process.env['RUST_LOG']),
    format: asFormat(process.env['TASKER_LOG_FORMAT']),
  };
  return settings;
}

function leastWeight(level: string | undefined): number {
  // Directives such as "info,hyper=warn" are for Rust; the plain word among them counts.
  const words = (level ?? '').toLowerCase().split(',');
  for (const word of words) {
    const name = word.trim();
    if (name === 'off') {
      return Infinity;
    }
    const weight = WEIGHTS[ALIASES[name] ?? (name as LogLevel)];
    if (weight !== undefined) {
      return weight;
    }
  }
  return WEIGHTS.info;
}

function asFormat(format: string | undefined): LogFormat {
  return format === 'json' || format === 'console' ? format : 'auto';
}

function write(level: LogLevel, message: string, fields: LogFields = {}): void {
  const { least, format } = current();
  if (WEIGHTS[level] < least) {
    return;
  }
  const readable = format === 'console' || (format === 'auto' && process.stderr.isTTY === true);
  process.stderr.write(readable ? readableLine(level, message, fields) : jsonLine(level, message, fields));
}

function jsonLine(level: LogLevel, message: string, fields: LogFields): string {
  const line = { timestamp: new Date().toISOString(), level, event: message, logger: DEFAULT_NAME, ...fields };
  return `${toJson(line)}\n`;
}

function readableLine(level: LogLevel, message: string, fields: LogFields): string {
  const { logger = DEFAULT_NAME, ...rest } = fields;
  const pairs = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${typeof value === 'string' ? value : toJson(value)}`)
    .join('');
  return `${new Date().toISOString()} ${level.padEnd(7)} ${String(logger)}: ${message}${pairs}\n`;
}

/** What has no JSON form must not cost the line. */
function toJson(value: unknown): string {
  const around = new Set<unknown>();
  const plain = (part: unknown): unknown => {
    if (typeof part === 'bigint' || typeof part === 'symbol' || typeof part === 'function') {
      return String(part);
    }
    if (part instanceof Error) {
      return { name: part.name, message: part.message, stack: part.stack };
    }
    if (typeof part !== 'object' || part === null || 'toJSON' in part) {
      return part;
    }
    if (around.has(part)) {
      return '[circular]';
    }
    around.add(part);
    const copy = Array.isArray(part)
      ? part.map(plain)
      : Object.fromEntries(Object.entries(part).map(([key, entry]) => [key, plain(entry)]));
    around.delete(part);
    return copy;
  };
  try {
    return JSON.stringify(plain(value)) ?? 'null';
  } catch (error) {
    return JSON.stringify(`[not writable: ${String(error)}]`);
  }
}
