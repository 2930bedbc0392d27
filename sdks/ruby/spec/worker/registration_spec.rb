# frozen_string_literal: true

require 'spec_helper'
require 'tmpdir'
require_relative 'support/worker_helpers'

RSpec.describe 'What a worker registers', :worker do
  let(:noop) { handler { |_context| success(result: {}) } }

  describe 'of handlers' do
    it 'changes when handlers are registered later, without losing what runs' do
      gate = Thread::Queue.new
      registry = registry_of(held: handler { |_| success(result: { gate: gate.pop }) })
      start_worker(registry, namespaces: ['shop'])
      lease, = server.offer(lease_of('held'))
      wait_for('the handler') { gate.num_waiting == 1 }
      id = server.calls_of('lease').first.path.split('/')[3]
      registry.register_handler('late', noop)
      again = server.wait_for_call('register', count: 2)
      expect(again.body).to include('callables' => %w[held late], 'worker_id' => id, 'namespaces' => ['shop'])
      gate << 1
      expect(server.wait_for_result['step_uuid']).to eq(lease['step_uuid'])
      late, = server.offer(lease_of('late'))
      expect(server.wait_for_results(2).last['step_uuid']).to eq(late['step_uuid'])
    end

    it 'is nothing at all until there are some' do
      registry = registry_of
      application = start_worker(registry)
      wait_until_started
      expect(events).to include('no_handlers')
      expect(application.status.reasons).to include('there are no handlers')
      expect(server.calls).to eq([])
      registry.register_handler('charge', noop)
      expect(server.wait_for_call('register').body['callables']).to eq(['charge'])
      server.offer(lease_of('charge'))
      server.wait_for_result
      expect(application.status).to be_ready
    end
  end

  describe 'of templates' do
    around { |example| Dir.mktmpdir { |directory| (@directory = directory) && example.run } }

    def write(name, text)
      path = File.join(@directory, name)
      FileUtils.mkdir_p(File.dirname(path))
      File.write(path, text)
      path
    end

    def registered(namespace, *handlers)
      handlers = handlers.map { |callable| { callable: callable, method: nil, resolver: nil } }
      { namespace: namespace, name: 'order', version: '1.0.0', outcome: 'registered', handlers: handlers, warnings: [] }
    end

    let(:text) { "name: order\nnamespace_name: shop\nsteps:\n  - {name: charge, handler: {callable: charge}}\n" }

    it 'is each file as it is, and sets the namespaces and callables' do
      write('a.yaml', text)
      write('deeper/b.yml', '# another')
      write('c.txt', 'no template')
      server.script('templates', 200, registered('shop', 'charge', 'String'))
      methods = [{ callable: 'charge', method: 'refund', resolver: nil }]
      server.script('templates', 200, registered('ledger').merge(handlers: methods, warnings: ['line 1: strange']))
      start_worker(registry_of(charge: noop), template_path: @directory, namespaces: ['given'])
      wait_until_started
      calls = server.calls_of('templates')
      expect(calls.map(&:text)).to eq([text, '# another'])
      expect(calls.map { |call| call.headers['content-type'] }.uniq).to eq(['application/yaml'])
      expect(server.calls_of('register').last.body).to include('namespaces' => %w[given ledger shop],
                                                               'callables' => ['charge'])
      missing = log_lines.find { |line| line['event'] == 'handlers_missing' }
      expect(missing).to include('level' => 'warning', 'callables' => ['String', 'charge (method refund)'])
      expect(events).to include('template_warning')
    end

    it 'includes callables that the registry resolves without knowing them in advance' do
      resolver = Class.new(TaskerCore::Registry::BaseResolver) do
        def name = 'any'
        def priority = 50
        def can_resolve?(definition, _config) = definition.callable.start_with?('any:')
        def resolve(_definition, _config) = Class.new(TaskerCore::StepHandler::Base) { def call(_) = success(result: {}) }.new
        def registered_callables = []
      end
      registry = registry_of(charge: noop).add_resolver(resolver.new)
      server.script('templates', 200, registered('shop', 'any:thing'))
      start_worker(registry, template_path: write('a.yaml', text))
      wait_until_started
      expect(server.calls_of('register').last.body['callables']).to eq(%w[any:thing charge])
    end

    it 'is left to others if the credentials do not allow it; its steps are run all the same' do
      server.script('templates', 403, server.error('FORBIDDEN', 'templates:register is missing'))
      start_worker(registry_of(charge: noop), template_path: write('a.yaml', text))
      wait_until_started
      expect(log_lines.find { |line| line['event'] == 'template_not_registered' }).to include(
        'level' => 'warning', 'template' => File.join(@directory, 'a.yaml'), 'reason' => /templates:register is missing/
      )
      expect(server.calls_of('register').last.body['namespaces']).to eq(['shop'])
    end

    it 'fails the start if the version has other content' do
      path = write('a.yaml', text)
      server.script('templates', 409, server.error('CONFLICT', 'order 1.0.0 is registered with other content'))
      start_worker(registry_of(charge: noop), template_path: path)
      expect { wait_until_started }.to raise_error(TaskerCore::Worker::StartFailed,
                                                   "#{path}: order 1.0.0 is registered with other content")
    end

    it 'fails the start with all findings if it is wrong' do
      path = write('a.yaml', text)
      details = [{ field: 'steps', message: 'line 3: a step needs a name' }, { field: 'x', message: 'line 9: no such key' }]
      server.script('templates', 422, server.error('INVALID', 'The template has 2 errors', details: details))
      start_worker(registry_of(charge: noop), template_path: path)
      expect { wait_until_started }.to raise_error(
        TaskerCore::Worker::StartFailed,
        "#{path}: The template has 2 errors\n  line 3: a step needs a name\n  line 9: no such key"
      )
    end

    it 'is tried again while the server is away' do
      server.script('templates', 503, server.error('AWAY', 'not now'))
      server.script('templates', 200, registered('shop', 'charge'))
      start_worker(registry_of(charge: noop), template_path: write('a.yaml', text))
      wait_until_started
      expect(server.calls_of('templates').size).to eq(2)
    end
  end
end
