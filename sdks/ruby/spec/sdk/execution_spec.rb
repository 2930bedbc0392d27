# frozen_string_literal: true

require 'json'
require_relative 'support/captured_log'

RSpec.describe TaskerCore::Execution do
  include_context 'with a captured log'

  let(:registry) { TaskerCore::Registry::HandlerRegistry.new }
  let(:base) { TaskerCore::StepHandler::Base }

  def lease(callable: 'subject', handler: {}, omitted: [], **step)
    { 'step_uuid' => 's-1', 'lease_id' => 7, 'omitted_results' => omitted,
      'task_sequence_step' => {
        'task' => { 'task' => { 'task_uuid' => 't-1', 'context' => { 'a' => 1 } }, 'task_name' => 'order', 'namespace_name' => 'shop' },
        'workflow_step' => { 'workflow_step_uuid' => 's-1', 'name' => 'charge', 'attempts' => 1, **step.transform_keys(&:to_s) },
        'dependency_results' => {}, 'step_definition' => { 'name' => 'charge', 'handler' => { 'callable' => callable, **handler } }
      } }
  end

  def run(given = lease, **options, &block)
    registry.register_handler('subject', Class.new(base) { define_method(:call, &block) }) if block
    described_class.run(given, registry: registry, worker_id: 'w-1', **options)
  end

  it 'writes a success as the protocol wants it' do
    stub_const('Shop::Charge', Class.new(base) do
      const_set(:VERSION, '1.2.0')
      def call(context) = success(result: { order: context.get_input(:a), state: :paid }, metadata: { note: :x })
    end)
    result = run(lease(callable: 'Shop::Charge'))

    expect(result).to include('step_uuid' => 's-1', 'lease_id' => 7, 'success' => true, 'status' => 'completed',
                              'result' => { 'order' => 1, 'state' => 'paid' }, 'error' => nil, 'orchestration_metadata' => nil)
    expect(result['metadata']).to include('handler_version' => '1.2.0', 'retryable' => false, 'worker_id' => 'w-1',
                                          'worker_hostname' => Socket.gethostname, 'execution_time_ms' => a_kind_of(Integer))
    expect(result['metadata']['custom']).to include('note' => 'x', 'processed_by' => 'charge', 'handler_class' => 'Shop::Charge')
    expect(Time.iso8601(result['metadata']['completed_at'])).to be >= Time.iso8601(result['metadata']['started_at'])
  end

  it 'writes a failure as the protocol wants it' do
    result = run do |_context|
      failure(message: 'no', error_type: 'ValidationError', error_code: 'E1', retryable: false, metadata: { field: 'x' })
    end

    expect(result).to include('success' => false, 'status' => 'failed', 'result' => {})
    expect(result['error']).to eq('message' => 'no', 'error_type' => 'validation_error', 'retryable' => false, 'backtrace' => nil)
    expect(result['metadata']).to include('retryable' => false, 'error_code' => 'E1', 'error_type' => 'validation_error')
    expect(result['metadata']['custom']).to include('field' => 'x', 'error_type' => 'ValidationError', 'error_code' => 'E1',
                                                    'retryable' => false, 'failed_at' => a_kind_of(String))
  end

  it 'writes a checkpoint instead of a result' do
    result = run { |_context| TaskerCore::Types::StepHandlerCallResult.checkpoint_yield(cursor: { page: 1 }, items_processed: 4) }
    expect(result).to eq('step_uuid' => 's-1', 'lease_id' => 7,
                         'checkpoint' => { 'cursor' => { 'page' => 1 }, 'items_processed' => 4, 'accumulated_results' => nil })
  end

  it 'takes what is no result for one' do
    expect(run { |_context| { a: 1 } }).to include('success' => true, 'result' => { 'a' => 1 })
    expect(run { |_context| }).to include('success' => true, 'result' => {})
    expect(run { |_context| [1] }).to include('success' => true, 'result' => [1])
  end

  it 'asks for a pause if the error does' do
    result = run { |_context| raise TaskerCore::RetryableError.new('later', retry_after: 9) }
    expect(result['orchestration_metadata']).to eq('headers' => { 'retry-after' => '9' }, 'error_context' => nil,
                                                   'backoff_hint' => nil, 'custom' => {})
  end

  it 'says which error nobody foresaw, and where' do
    result = run { |_context| raise KeyError, 'boom' }
    expect(result['error']).to include('message' => 'boom', 'error_type' => 'handler_error', 'retryable' => true)
    expect(result['error']['backtrace'].first).to include('execution_spec.rb')
    expect(result['metadata']['custom']['exception_class']).to eq('KeyError')
  end

  it 'survives whatever a handler raises' do
    [SystemExit, NotImplementedError, NoMemoryError, Interrupt, SystemStackError, Class.new(Exception)].each do |error_class|
      expect(run { |_context| raise error_class, 'out' }['error']).to include('error_type' => 'handler_error', 'message' => 'out')
    end
    expect(run { |_context| throw :nothing }['error']['error_type']).to eq('handler_error')
    broken = Class.new(StandardError) { def message = raise('no message either') }
    expect(run { |_context| raise broken }).to include('success' => false, 'status' => 'failed')
  end

  it 'names an error without a message' do
    expect(run { |_context| raise KeyError, '' }['error']['message']).to eq('UnexpectedError')
  end

  it 'writes what cannot be stored in a message as an escape' do
    expect(run { |_context| raise "a\u0000b" }['error']['message']).to eq('a\x00b')
    expect(run { |_context| raise "a\xED\xA0\x80b" }['error']['message']).to eq('a\xed\xa0\x80b')
    expect(run { |_context| raise 'grün'.encode('UTF-16LE') }['error']['message']).to eq('grün')
    expect(run { |_context| raise "\xFF\xFE".b }['error']['message']).to eq('\xff\xfe')
  end

  it 'fails for good if the result has no JSON form' do
    [Float::INFINITY, "a\u0000", "\xFF", Object.new, 10**400].each do |value|
      result = run { |_context| success(result: { 'deep' => [value] }) }
      expect(result).to include('success' => false, 'status' => 'error', 'result' => {}), value.inspect
      expect(result['error']).to include('error_type' => 'SERIALIZATION_ERROR', 'retryable' => false)
      expect(result['error']['message']).to include('$.deep[0]')
      expect(result['metadata']['custom']['serialization_error'].length).to be <= 500
      expect { JSON.generate(result) }.not_to raise_error
    end
    expect(run { |_context| TaskerCore::Types::StepHandlerCallResult.checkpoint_yield(cursor: Float::NAN, items_processed: 1) }['error'])
      .to include('error_type' => 'SERIALIZATION_ERROR')
  end

  it 'keeps a failure whose metadata has no JSON form' do
    result = run { |_context| raise TaskerCore::PermanentError.new('no', context: { order: Object.new }) }
    expect(result['error']).to include('message' => 'no', 'error_type' => 'permanent_error')
    expect(result['metadata']['custom']['metadata_dropped']).to include('$.context.order')
  end

  it 'fails for good without a handler, saying what was looked for' do
    expect(run(lease(callable: 'nobody'))['error'])
      .to include('error_type' => 'handler_not_found', 'message' => 'Handler not found: nobody', 'retryable' => false)
    registry.register_handler('subject', Class.new(base) { def call(_context) = success(result: {}) })
    expect(run(lease(handler: { 'method' => 'refund' }))['error']['message']).to eq('Handler not found: subject with the method refund')
    expect(run(lease(handler: { 'resolver' => 'ghost' }))['error']['message']).to eq('Handler not found: subject by the resolver ghost')
  end

  it 'takes the name of the step where the template names no handler' do
    registry.register_handler('charge', Class.new(base) { def call(_context) = success(result: { ran: true }) })
    expect(run(lease(callable: nil, template_step_name: 'charge'))['result']).to eq('ran' => true)
    expect(run(lease(callable: ''))['error']).to include('error_type' => 'permanent_error', 'retryable' => false)
  end

  it 'does not raise for a lease that is none' do
    expect(run({ 'step_uuid' => 's', 'lease_id' => 1 })).to include('step_uuid' => 's', 'lease_id' => 1, 'success' => false)
  end

  it 'gives the handler its context' do
    seen = nil
    stop = true
    run(lease(inputs: { 'cursor' => {} }), cancelled: -> { stop }) { |context| seen = context and success(result: {}) }
    expect(seen).to have_attributes(input_data: { 'a' => 1 }, retry_count: 1, cancelled?: true, handler_name: 'subject',
                                    step_inputs: { 'cursor' => {} })
  end

  it 'fetches a result that the lease leaves out when the handler asks for it' do
    asked = []
    fetch = lambda do |name|
      asked << name
      { 'success' => true, 'result' => { 'total' => 5 } }
    end
    expect(run(lease(omitted: ['large']), fetch_result: fetch) { |_context| success(result: {}) }).to include('success' => true)
    expect(asked).to be_empty
    result = run(lease(omitted: ['large']), fetch_result: fetch) do |context|
      success(result: { total: context.get_dependency_field('large', :total) })
    end
    expect(result['result']).to eq('total' => 5)
    expect(asked).to eq(['large'])
  end

  it 'publishes nothing of an attempt that is to stop' do
    publisher = TaskerCore::TestHelpers::MockEventPublisher.new('kept')
    TaskerCore::DomainEvents::PublisherRegistry.instance.register(publisher)
    given = lease
    given['task_sequence_step']['step_definition']['publishes_events'] = [{ 'name' => 'done', 'publisher' => 'kept' }]

    expect { run(given, cancelled: -> { true }) { |_context| success(result: {}) } }.not_to(change { publisher.published_events.size })
    expect { run(given) }.to change { publisher.published_events.size }.by(1)
  ensure
    TaskerCore::DomainEvents::PublisherRegistry.instance.reset!
  end

  it 'tells a handler that ran too long by its limit' do
    result = described_class.timed_out(lease, 1.5, worker_id: 'w-1')
    expect(result).to include('step_uuid' => 's-1', 'lease_id' => 7, 'success' => false, 'status' => 'failed')
    expect(result['error']).to include('error_type' => 'handler_timeout', 'retryable' => true,
                                       'message' => 'the handler ran longer than its limit of 1500 ms (timeout_seconds)')
  end

  it 'lets a step that was cut short start again at once' do
    result = described_class.cut_short(lease, worker_id: 'w-1')
    expect(result['error']).to include('error_type' => 'worker_shutdown', 'retryable' => true)
    expect(result['metadata']['custom']).to include('retry_after_seconds' => 0)
  end
end
