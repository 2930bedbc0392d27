# frozen_string_literal: true

require 'securerandom'
require 'stringio'
require 'tasker_core'
require_relative 'fake_server'

# Leases, handlers and workers for the specs of the worker.
module WorkerHelpers
  # A handler whose work a test says as a block.
  def handler(&work)
    Class.new(TaskerCore::StepHandler::Base) { define_method(:call, &work) }
  end

  # A registry with handlers of its own, by name.
  def registry_of(**handlers)
    registry = TaskerCore::Registry::HandlerRegistry.new(resolver_chain: explicit_chain)
    handlers.each { |name, made| registry.register_handler(name.to_s, made) }
    registry
  end

  # Only what is registered counts, not the handler classes that other specs have loaded.
  def explicit_chain
    TaskerCore::Registry::ResolverChain.new([TaskerCore::Registry::Resolvers::ExplicitMappingResolver.new])
  end

  def lease_of(callable, lease_id: next_lease_id, timeout: nil, **more)
    uuid = SecureRandom.uuid
    task_uuid = SecureRandom.uuid
    task = { 'task_uuid' => task_uuid, 'context' => more.fetch(:context, {}), 'correlation_id' => task_uuid }
    step = { 'workflow_step_uuid' => uuid, 'name' => callable, 'attempts' => 0, 'max_attempts' => 3, 'retryable' => true }
    definition = { 'name' => callable, 'timeout_seconds' => timeout,
                   'handler' => { 'callable' => callable, 'method' => nil, 'resolver' => nil, 'initialization' => {} } }
    { 'event_id' => SecureRandom.uuid, 'task_uuid' => task_uuid, 'step_uuid' => uuid, 'lease_id' => lease_id,
      'attempt' => 1, 'lease_seconds' => 30.0, 'correlation_id' => task_uuid, 'task_correlation_id' => task_uuid,
      'omitted_results' => more.fetch(:omitted, []),
      'task_sequence_step' => {
        'task' => { 'task' => task, 'task_name' => 'order', 'task_version' => '1.0.0', 'namespace_name' => 'shop' },
        'workflow_step' => step, 'dependency_results' => {}, 'step_definition' => definition
      } }
  end

  def next_lease_id = @lease_id = (@lease_id || 0) + 1

  # A server, and a worker for it that is stopped after the example.
  def server(**options) = @server ||= FakeServer.new(**options)

  def settings(**given)
    TaskerCore::Settings.new(environment: {}, server_url: server.url, worker_name: 'spec', shutdown_timeout: 10, wait_for: 10, **given)
  end

  def start_worker(registry, **given)
    application = TaskerCore::Worker::Application.new(settings(**given), registry: registry)
    started = Thread::Queue.new
    thread = Thread.new do
      application.run { started << :started }
    rescue StandardError => e
      started << e
      raise
    end
    thread.report_on_exception = false
    (@running ||= []) << [application, thread]
    @started = started
    application
  end

  # Waits until the worker takes steps; what it could not start for is raised.
  def wait_until_started
    outcome = Timeout.timeout(FakeServer::PATIENCE) { @started.pop }
    raise outcome if outcome.is_a?(StandardError)
  end

  # Stops the worker and waits for its end; what it ended with is raised.
  def stop_worker(application)
    application.stop
    end_of(application)
  end

  def end_of(application)
    _, thread = @running.find { |each, _| each.equal?(application) }
    thread.join(FakeServer::PATIENCE) or raise 'the worker does not end'
    thread.value
  end

  # What it ended with is for the example to look at.
  def ended?(thread)
    thread.join(FakeServer::PATIENCE)
  rescue StandardError
    true
  end

  # Log lines of the example.
  def log_lines = @log.string.lines.map { |line| JSON.parse(line) }

  def events = log_lines.map { |line| line['event'] }

  def wait_for(what)
    deadline = monotonic + FakeServer::PATIENCE
    until (found = yield)
      raise "there was no #{what}" if monotonic > deadline

      Thread.pass
      sleep(0.005)
    end
    found
  end

  def monotonic = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

RSpec.configure do |config|
  config.include WorkerHelpers, :worker

  config.around(:each, :worker) do |example|
    logger = TaskerCore::Logger.instance
    before = [logger.output, logger.format, logger.level]
    @log = logger.output = StringIO.new
    logger.format = :json
    example.run
    (@running || []).each do |application, thread|
      application.stop
      raise 'the worker does not end' unless ended?(thread)
    end
    @server&.stop
    logger.output, logger.format, logger.level = before
  end
end
