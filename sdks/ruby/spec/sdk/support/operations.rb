# frozen_string_literal: true

require_relative 'http_server'

# The operations of the conformance vectors, in Ruby.
module Operations
  # Handlers of the operations about HTTP.
  class FetchOrder < TaskerCore::StepHandler::Api
    def call(_context)
      response = get('/order')
      api_success(data: response.body, status: response.status)
    rescue TaskerCore::NetworkError => e
      connection_error(e, 'fetching order')
    rescue TaskerCore::TimeoutError => e
      timeout_error(e, 'fetching order')
    end
  end

  # A resolver that notes that it was asked.
  class AskedResolver < TaskerCore::Registry::BaseResolver
    attr_reader :name, :priority

    def initialize(name, priority, asked)
      super()
      @name = name
      @priority = priority
      @asked = asked
    end

    def can_resolve?(_definition, _config = {}) = true

    def resolve(_definition, _config = {})
      @asked << name
      nil
    end
  end

  OUTCOMES = { 'success' => { success: true }, 'retryable_failure' => { success: false, retryable: true },
               'permanent_failure' => { success: false, retryable: false } }.freeze

  module_function

  # Runs a vector.
  def perform(vector)
    name = vector.operation
    return CONTEXT[name].call(context(vector), *vector.arguments) if CONTEXT.key?(name)
    return LEASE[name].call(vector.lease, *vector.arguments) if LEASE.key?(name)
    raise NameError, "there is no operation #{name}" unless PLAIN.key?(name)

    PLAIN[name].call(*vector.arguments)
  end

  def context(vector)
    TaskerCore::Types::StepContext.new(vector.lease['task_sequence_step'])
  end

  def execute(lease, registry = FixtureHandlers.registry)
    TaskerCore::Execution.run(lease, registry: registry, worker_id: 'conformance')
  end

  def fetch_order(lease, **config)
    registry = TaskerCore::Registry::HandlerRegistry.new.register_handler('fetch_order', FetchOrder)
    lease['task_sequence_step']['step_definition']['handler'] = { 'callable' => 'fetch_order', 'initialization' => config }
    execute(lease, registry)
  end

  def with_server(answer)
    server = HttpServer.new { answer }
    yield server.url
  ensure
    server.close
  end

  # What the client sends to create a task.
  def created_task(**request)
    sent = nil
    server = HttpServer.new do |got|
      sent = JSON.parse(got.body)
      [201, { 'content-type' => 'application/json' }, '{"task_uuid": "t"}']
    end
    with_environment('TASKER_ORCHESTRATION_URL' => server.url) { TaskerCore::Client.create_task(**request) }
    sent
  ensure
    server.close
  end

  def with_environment(values)
    before = values.keys.to_h { |name| [name, ENV.fetch(name, nil)] }
    ENV.update(values)
    TaskerCore::Client.reset!
    yield
  ensure
    ENV.update(before)
    TaskerCore::Client.reset!
  end

  def unused_port
    server = TCPServer.new('127.0.0.1', 0)
    server.addr[1]
  ensure
    server.close
  end

  def batchable
    TaskerCore::StepHandler::Batchable.new
  end

  def named_publisher(name)
    TaskerCore::TestHelpers::MockEventPublisher.new(name)
  end

  def answering(word)
    Class.new(TaskerCore::StepHandler::Base) { define_method(:call) { |_context| success(result: { which: word }) } }
  end

  # Operations on a context.
  CONTEXT = {
    'get_input' => ->(context, key) { context.get_input(key) },
    'get_input_or' => ->(context, key, default) { context.get_input_or(key, default) },
    'input_data' => ->(context) { context.input_data },
    'step_inputs' => ->(context) { context.step_inputs },
    'get_config' => ->(context, key) { context.get_config(key) },
    'get_dependency_result' => ->(context, step) { context.get_dependency_result(step) },
    'get_dependency_field' => ->(context, step, *path) { context.get_dependency_field(step, *path) },
    'get_dependency_result_keys' => ->(context) { context.get_dependency_result_keys.sort },
    'get_all_dependency_results' => ->(context, prefix) { context.get_all_dependency_results(prefix) },
    'retry_state' => lambda do |context|
      { retry_count: context.retry_count, max_retries: context.max_retries, is_retry: context.is_retry?,
        is_last_retry: context.is_last_retry? }
    end,
    'checkpoint_state' => lambda do |context|
      { has_checkpoint: context.has_checkpoint?, cursor: context.checkpoint_cursor,
        items_processed: context.checkpoint_items_processed, accumulated_results: context.accumulated_results }
    end,
    'batch_context' => lambda do |context|
      batch = batchable.get_batch_context(context)
      { batch_id: batch.batch_id, start_cursor: batch.start_cursor, end_cursor: batch.end_cursor,
        batch_size: batch.batch_size, checkpoint_cursor: batch.checkpoint_cursor }
    end,
    'detect_aggregation_scenario' => lambda do |context, analyzer, prefix|
      found = batchable.detect_aggregation_scenario(context.dependency_results, analyzer, prefix)
      { is_no_batches: found.is_no_batches, worker_count: found.worker_count, batchable_result: found.batchable_result,
        batch_results: found.batch_results }
    end
  }.freeze

  # Operations on a lease.
  LEASE = {
    'execute' => ->(lease) { execute(lease) },
    'handler_timeout' => ->(lease, limit) { TaskerCore::Execution.timed_out(lease, limit / 1000.0, worker_id: 'w') },
    'worker_shutdown' => ->(lease) { TaskerCore::Execution.cut_short(lease, worker_id: 'w') },
    'api_call' => lambda do |lease, answer|
      with_server([answer['status'], answer['headers'], answer['body']]) { |url| fetch_order(lease, url: url) }
    end,
    'api_connection_error' => ->(lease) { fetch_order(lease, url: "http://127.0.0.1:#{unused_port}") },
    'api_timeout' => ->(lease) { with_server(nil) { |url| fetch_order(lease, url: url, timeout: 0.2) } }
  }.freeze

  # Operations on nothing but their arguments.
  PLAIN = {
    'cursor_ranges' => lambda do |total, size, most = nil|
      batchable.create_cursor_ranges(total, size, max_batches: most).map { |each| each.values_at('start_cursor', 'end_cursor') }
    end,
    'cursor_configs' => ->(total, workers) { batchable.create_cursor_configs(total, workers) },
    'create_batches' => lambda do |template, count, configs, total|
      TaskerCore::Types::BatchProcessingOutcome.create_batches(worker_template_name: template, worker_count: count,
                                                               cursor_configs: configs, total_items: total).to_h
    end,
    'resolver_order' => lambda do |resolvers|
      asked = []
      chain = TaskerCore::Registry::ResolverChain.new
      resolvers.each { |name, priority| chain.add_resolver(AskedResolver.new(name, priority, asked)) }
      chain.resolve(TaskerCore::Types::HandlerDefinition.new(callable: 'x'))
      asked
    end,
    'registered_twice' => lambda do
      registry = TaskerCore::Registry::HandlerRegistry.new
      %w[first second].each { |word| registry.register_handler('twice', answering(word)) }
      registry.resolve_handler('twice').call(nil).result[:which]
    end,
    'unregistered' => lambda do
      registry = TaskerCore::Registry::HandlerRegistry.new.register_handler('gone', answering('first'))
      registry.unregister_handler('gone')
      registry.resolve_handler('gone')
    end,
    'event_pattern' => ->(pattern, name) { TaskerCore::DomainEvents.matches?(pattern, name) },
    'event_condition' => lambda do |condition, outcome|
      TaskerCore::DomainEvents.condition_met?(condition, **OUTCOMES.fetch(outcome))
    end,
    'publisher_duplicate' => lambda do
      registry = TaskerCore::DomainEvents::PublisherRegistry.new
      2.times { registry.register(named_publisher('twice')) }
    end,
    'publisher_after_freeze' => lambda do
      TaskerCore::DomainEvents::PublisherRegistry.new.freeze!.register(named_publisher('late'))
    end,
    'publisher_strict' => ->(name) { TaskerCore::DomainEvents::PublisherRegistry.new.get_strict(name) },
    'publisher_or_default' => ->(name) { TaskerCore::DomainEvents::PublisherRegistry.new.get_or_default(name).name },
    'task_request' => ->(name) { created_task(name: name) }
  }.freeze
end
