#!/usr/bin/env node
/** The command `tasker-worker`. */

import { parseArgs } from 'node:util';

import { configureLogging } from './logging/index.js';
import { WorkerSetupError } from './worker/errors.js';
import { EXIT_CODES, runProcess } from './worker/run-process.js';
import { asNumber, type WorkerServerConfig } from './worker/settings.js';
import { VERSION } from './worker/version.js';
import { WorkerServer } from './worker/worker-server.js';

const HELP = `Usage: tasker-worker [HANDLERS...] [OPTIONS]

Run the handlers of a Tasker server's steps.

HANDLERS are JavaScript files, or directories of them. What a module exports and has a static handlerName is a handler,
and so is what defineHandler and its like make. A directory's index.js counts before its other files.

Options:
  --server URL                server to work for [TASKER_ORCHESTRATION_URL, http://localhost:8080]
  --templates PATH            template file, or directory of them, to register [TASKER_TEMPLATE_PATH, config/tasks]
  --namespace NS              take steps from this namespace, too; may be repeated [TASKER_NAMESPACE]
  --concurrency N             handlers that run at once [TASKER_MAX_CONCURRENT, 10]
  --name NAME                 name in the history [TASKER_WORKER_ID, typescript-worker-PID]
  --shutdown-timeout SECONDS  how long running handlers may take to finish at the end [TASKER_SHUTDOWN_TIMEOUT, 30]
  --wait-for SECONDS          how long to wait for a server that is not there yet [TASKER_WAIT_FOR, 60]
  --health-bind HOST:PORT     address of the health checks [TASKER_WORKER_HEALTH_BIND, none]
  --log-format FORMAT         json, console or auto, which is console on a terminal [TASKER_LOG_FORMAT, auto]
  --version                   show the version
  --help                      show this text

Credentials come from TASKER_ORCHESTRATION_AUTH_TOKEN, TASKER_AUTH_TOKEN or TASKER_API_KEY, the level of the log from
RUST_LOG (info). Steps are taken from the namespaces of the templates, or from everywhere if there are no templates.

SIGTERM or SIGINT: take no more steps, let running handlers finish, report everything, and end with 0. A second one:
end at once.

Exit codes: 0 stopped, 1 failed, 2 wrong arguments, handlers or templates, 4 credentials refused, 5 no server.

Example:
  tasker-worker dist/handlers --templates config/tasks --server http://localhost:8080
`;

const OPTIONS = {
  server: { type: 'string' },
  templates: { type: 'string' },
  namespace: { type: 'string', multiple: true },
  concurrency: { type: 'string' },
  name: { type: 'string' },
  'shutdown-timeout': { type: 'string' },
  'wait-for': { type: 'string' },
  'health-bind': { type: 'string' },
  'log-format': { type: 'string' },
  version: { type: 'boolean' },
  help: { type: 'boolean' },
} as const;

type Arguments = ReturnType<typeof parse>;

function parse(argv: string[]) {
  return parseArgs({ args: argv, options: OPTIONS, allowPositionals: true });
}

async function main(argv: string[]): Promise<number> {
  let given: Arguments;
  let config: WorkerServerConfig;
  try {
    given = parse(argv);
    config = configOf(given);
  } catch (error) {
    const [message] = (error as Error).message.split('\n');
    process.stderr.write(`tasker-worker: ${message} (see tasker-worker --help)\n`);
    return EXIT_CODES.wrong;
  }
  if (given.values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (given.values.version) {
    process.stdout.write(`tasker-worker ${VERSION}\n`);
    return 0;
  }
  return await work(given.positionals, config);
}

function configOf({ values }: Arguments): WorkerServerConfig {
  const format = values['log-format'];
  if (format !== undefined) {
    if (!['json', 'console', 'auto'].includes(format)) {
      throw new Error(`--log-format must be json, console or auto, not ${JSON.stringify(format)}`);
    }
    configureLogging({ format });
  }
  return {
    engineUrl: values.server,
    templatePath: values.templates,
    namespace: values.namespace?.join(','),
    maxConcurrentHandlers:
      values.concurrency === undefined
        ? undefined
        : asNumber('--concurrency', values.concurrency, { least: 1, most: 10_000, whole: true }),
    workerId: values.name,
    shutdownTimeoutMs: milliseconds('--shutdown-timeout', values['shutdown-timeout']),
    waitForMs: milliseconds('--wait-for', values['wait-for']),
    healthBind: values['health-bind'],
    requireHandlers: true,
  };
}

function milliseconds(option: string, seconds: string | undefined): number | undefined {
  return seconds === undefined ? undefined : 1000 * asNumber(option, seconds, { least: 0 });
}

async function work(handlerPaths: string[], config: WorkerServerConfig): Promise<number> {
  const server = new WorkerServer(config);
  return await runProcess('tasker-worker', server, () => loadHandlers(server, handlerPaths));
}

async function loadHandlers(server: WorkerServer, paths: string[]): Promise<void> {
  for (const path of paths) {
    try {
      await server.getHandlerSystem().loadFromPath(path);
    } catch (error) {
      throw new WorkerSetupError((error as Error).message);
    }
  }
}

process.exitCode = await main(process.argv.slice(2));
// Handlers that do not end by themselves must not keep the process.
process.exit();
