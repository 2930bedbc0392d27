/** Which handlers are found in files. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { after, describe, it } from 'node:test';
import { HandlerRegistry, HandlerSystem } from '@tasker-systems/tasker';

const SOURCE = new URL('../../src/index.js', import.meta.url).href;
const directories: string[] = [];

after(() => directories.forEach((directory) => rmSync(directory, { recursive: true, force: true })));

function handler(name: string, exported = 'export'): string {
  return `
    import { StepHandler } from '${SOURCE}';
    ${exported} class H_${name} extends StepHandler {
      static handlerName = '${name}';
      async call() { return this.success({ name: '${name}' }); }
    }`;
}

function directoryOf(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'tasker-handlers-'));
  directories.push(root);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  return root;
}

async function loadedFrom(path: string): Promise<string[]> {
  const system = new HandlerSystem();
  const count = await system.loadFromPath(path);
  assert.equal(count, system.handlerCount());
  return system.listHandlers().sort();
}

describe('handlers are loaded', () => {
  it('from a file', async () => {
    const root = directoryOf({ 'a.mjs': handler('a'), 'b.mjs': handler('b') });
    assert.deepEqual(await loadedFrom(join(root, 'a.mjs')), ['a']);
  });

  it('from all modules of a directory, except tests, hidden and private ones', async () => {
    const root = directoryOf({
      'a.mjs': handler('a'),
      'sub/b.mjs': handler('b', 'export default'),
      'a.test.mjs': handler('test'),
      'a.spec.mjs': handler('spec'),
      '_private.mjs': handler('private'),
      'node_modules/x/x.mjs': handler('module'),
      '.hidden/x.mjs': handler('hidden'),
      'types.d.ts': 'syntax error(',
      'notes.txt': 'no code',
      'other.mjs': 'export const nothing = 1; export class Plain {}',
    });
    assert.deepEqual(await loadedFrom(root), ['a', 'b']);
  });

  it('from an index, which may list them', async () => {
    const extra = handler('extra').replace(/import.*\n/, '');
    const listed = `${handler('listed', '')}\n${extra}\nexport const ALL_EXAMPLE_HANDLERS = [H_listed];`;
    const root = directoryOf({
      'package.json': '{"type": "module"}',
      'examples/index.js': listed,
      'dsl_examples/index.js': `${handler('dsl', '')}\nexport const ALL_DSL_HANDLERS = [H_dsl];`,
      'other.js': handler('other'),
    });
    assert.deepEqual(await loadedFrom(root), ['dsl', 'listed']);
  });

  it('from the exports of an index without a list', async () => {
    const root = directoryOf({ 'package.json': '{"type": "module"}', 'index.js': handler('a'), 'b.js': handler('b') });
    assert.deepEqual(await loadedFrom(root), ['a']);
  });

  it('from the path in the environment', async () => {
    const root = directoryOf({ 'a.mjs': handler('a') });
    const before = process.env['TYPESCRIPT_HANDLER_PATH'];
    try {
      delete process.env['TYPESCRIPT_HANDLER_PATH'];
      assert.equal(await new HandlerSystem().loadFromEnv(), 0);
      process.env['TYPESCRIPT_HANDLER_PATH'] = root;
      assert.equal(await new HandlerSystem().loadFromEnv(), 1);
    } finally {
      if (before === undefined) delete process.env['TYPESCRIPT_HANDLER_PATH'];
      else process.env['TYPESCRIPT_HANDLER_PATH'] = before;
    }
  });

  it('not from a compiled module and its source at once', async () => {
    const root = directoryOf({ 'package.json': '{"type": "module"}', 'a.js': handler('a'), 'a.ts': 'syntax error(' });
    assert.deepEqual(await loadedFrom(root), ['a']);
  });
});

describe('loading fails', () => {
  it('if there is nothing at the path', async () => {
    await assert.rejects(new HandlerSystem().loadFromPath('/no/such/path'), /no handlers at \/no\/such\/path/);
  });

  it('if a module is broken, and names it', async () => {
    const root = directoryOf({ 'broken.mjs': 'throw new Error("bad config")' });
    await assert.rejects(
      new HandlerSystem().loadFromPath(root),
      /cannot load handlers from broken.mjs: Error: bad config/,
    );
  });
});

describe('a callable that is a path', () => {
  it('is the handler of that module', async () => {
    const named = `export class A_Helper {}\n${handler('named')}`;
    const root = directoryOf({ 'named.mjs': named, 'default.mjs': handler('default', 'export default') });
    for (const name of ['named', 'default']) {
      const path = relative(process.cwd(), join(root, `${name}.mjs`));
      const resolved = await new HandlerRegistry().resolve(path.startsWith('.') ? path : `./${path}`);
      assert.equal(resolved?.name, name);
    }
  });
});
