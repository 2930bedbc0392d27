# frozen_string_literal: true

require_relative 'support/http_server'

RSpec.describe TaskerCore::StepHandler::Functional do
  let(:dsl) { Module.new { extend TaskerCore::StepHandler::Functional } }
  let(:names) { [] }

  after { names.each { |name| described_class.forget(name) } }

  def declare(kind = :step_handler, name = 'declared', **options, &block)
    names << name
    dsl.public_send(kind, name, **options, &block)
  end

  def run(handler_class, **context)
    TaskerCore::TestHelpers.run_handler(handler_class, TaskerCore::TestHelpers.make_context(**context))
  end

  it 'makes a handler class of a block' do
    handler_class = declare(version: '2.0.0') { { done: true } }
    expect(handler_class).to be < TaskerCore::StepHandler::Base
    expect(handler_class.new).to have_attributes(handler_name: 'declared', version: '2.0.0')
    expect(handler_class::VERSION).to eq('2.0.0')
    expect(run(handler_class)).to have_attributes(success?: true, result: { done: true })
  end

  it 'finds it by its name, without registration' do
    handler_class = declare { { done: true } }
    registry = TaskerCore::Registry::HandlerRegistry.new
    expect(registry.resolve_handler('declared')).to be_a(handler_class)
    expect(registry.registered_handlers).to include('declared')
  end

  it 'prefers what was registered under the same name' do
    declare { { from: 'block' } }
    other = Class.new(TaskerCore::StepHandler::Base)
    registry = TaskerCore::Registry::HandlerRegistry.new.register_handler('declared', other)
    expect(registry.resolve_handler('declared')).to be_a(other)
  end

  it 'gives a block what it names of dependencies, inputs and context' do
    all = nil
    handler_class = declare(depends_on: { cart: 'validate', gone: ['absent'] }, inputs: %i[a b]) { |**given| all = given }
    run(handler_class, dependency_results: { 'validate' => { 'total' => 1 } }, input_data: { a: 2 })
    expect(all.except(:context)).to eq(cart: { 'total' => 1 }, gone: nil, a: 2, b: nil)
    expect(all[:context]).to be_a(TaskerCore::Types::StepContext)

    fewer = declare(depends_on: { cart: 'validate' }, inputs: [:a]) { |a:| a }
    expect(run(fewer, input_data: { a: 2 }).result).to eq('result' => 2)
  end

  it 'leaves defaults of a block alone where nothing is given for them' do
    expect(run(declare { |extra: 7| extra }).result).to eq('result' => 7)
  end

  describe 'models' do
    # As Dry::Struct and ActiveModel have it.
    let(:model) do
      Class.new(TaskerCore::Types::Record) do
        attributes :total, currency: 'EUR'
        def validate! = total.to_i.positive? || raise(TaskerCore::ValidationError.new('total is missing', field: :total))
      end
    end

    it 'are made of a dependency, without keys that they do not know' do
      handler_class = declare(depends_on: { cart: ['validate', model] }) { |cart:| [cart.total, cart.currency] }
      expect(run(handler_class, dependency_results: { 'validate' => { 'total' => 5, 'other' => 1 } }).result).to eq('result' => [5, 'EUR'])
      expect(run(declare(depends_on: { cart: ['validate', model] }) { |cart:| cart.inspect }).result).to eq('result' => 'nil')
    end

    it 'are made of the input, and validated' do
      handler_class = declare(inputs: model) { |inputs:| inputs.to_h }
      expect(run(handler_class, input_data: { total: 5, other: 1 }).result).to eq(total: 5, currency: 'EUR')
      expect(run(handler_class)).to have_attributes(success?: false, error_type: 'ValidationError', retryable: false)
    end

    it 'are made of nothing where the input is no object' do
      expect(run(declare(inputs: model) { |inputs:| inputs.to_h }, input_data: [1])).to have_attributes(error_type: 'ValidationError')
    end

    it 'that refuse what they are given fail the step for good' do
      stub_const('Dry::Struct::Error', Class.new(TypeError))
      picky = Class.new(model) { def validate! = raise(Dry::Struct::Error, ':total is missing') }
      expect(run(declare(inputs: picky) { 1 }))
        .to have_attributes(error_type: 'ValidationError', retryable: false, message: ':total is missing',
                            metadata: { exception_class: 'Dry::Struct::Error' })
    end

    it 'may be Structs' do
      struct = Struct.new(:total, :currency, keyword_init: true)
      expect(run(declare(inputs: struct) { |inputs:| inputs }, input_data: { total: 5 }).result).to eq(total: 5, currency: nil)
    end
  end

  it 'takes what a block returns' do
    record = Class.new(TaskerCore::Types::Record) { attributes :a }
    {
      { a: 1 } => { a: 1 }, nil => {}, [1] => { 'result' => [1] }, 'x' => { 'result' => 'x' }, false => { 'result' => false },
      { success: false } => { success: false }, record.new(a: 1) => { a: 1 }, (1..2) => { 'result' => 1..2 }
    }.each { |value, expected| expect(run(declare { value }).result).to eq(expected) }
  end

  it 'turns errors into failures' do
    expect(run(declare { raise TaskerCore::PermanentError, 'no' })).to have_attributes(error_type: 'PermanentError', retryable: false)
    expect(run(declare { raise KeyError, 'boom' })).to have_attributes(error_type: 'UnexpectedError', retryable: true, message: 'boom')
  end

  it 'lets a block call what it sees where it stands' do
    mod = Module.new do
      extend TaskerCore::StepHandler::Functional
      def self.double(number) = number * 2
      const_set(:Doubled, step_handler('doubled') { double(21) })
    end
    names << 'doubled'
    expect(run(mod::Doubled).result).to eq('result' => 42)
  end

  it 'refuses what it cannot make a handler of' do
    expect { dsl.step_handler('x') }.to raise_error(ArgumentError, /x needs a block/)
    [5, [], nil, %w[a b], [5]].each do |wrong|
      expect { dsl.step_handler('x', depends_on: { cart: wrong }) {} }.to raise_error(ArgumentError, /depends_on: cart/)
    end
    expect(described_class.handler_class('x')).to be_nil
  end

  describe 'decisions' do
    it 'go on with steps, or with none' do
      stub_const('Routing', dsl)
      names.push('routed', 'skipped')
      routed, skipped = Routing.module_eval(<<~'RUBY', __FILE__, __LINE__ + 1)
        [decision_handler('routed') { Decision.route('a', tier: 'gold') }, decision_handler('skipped') { Decision.skip('nothing') }]
      RUBY
      expect(run(routed).result).to eq(decision_point_outcome: { 'type' => 'create_steps', 'step_names' => ['a'] },
                                       routing_context: { tier: 'gold' })
      expect(run(skipped).result).to eq(reason: 'nothing', decision_point_outcome: { 'type' => 'no_branches' })
    end

    it 'are refused without steps' do
      decision = described_class::Decision
      expect(run(declare(:decision_handler) { decision.route([]) }))
        .to have_attributes(success?: false, error_code: 'INVALID_DECISION_OUTCOME', retryable: false)
    end
  end

  it 'puts Decision and BatchConfig where they can be named, unless these names are taken' do
    expect(dsl::Decision).to equal(described_class::Decision)
    expect(dsl::BatchConfig).to equal(described_class::BatchConfig)
    taken = Module.new do
      const_set(:Decision, :mine)
      extend TaskerCore::StepHandler::Functional
    end
    expect(taken::Decision).to eq(:mine)
    expect(Object.new.extend(described_class)).to respond_to(:step_handler)
  end

  describe 'batches' do
    let(:config) { described_class::BatchConfig }

    it 'are divided by size' do
      made = config
      analyzer = declare(:batch_analyzer, worker_template: 'w') { made.new(total_items: 250, batch_size: 100, metadata: { file: 'a' }) }
      result = run(analyzer).result
      expect(result['batch_processing_outcome']['cursor_configs'].map { |each| each.values_at('batch_id', 'batch_size') })
        .to eq([['001', 100], ['002', 100], ['003', 50]])
      expect(result).to include('worker_count' => 3, 'total_items' => 250, 'file' => 'a')
    end

    it 'are none where there are no items' do
      made = config
      idle = declare(:batch_analyzer, worker_template: 'w') do
        made.new(total_items: 0, batch_size: 100, metadata: { reason: 'no file' })
      end
      expect(run(idle).result)
        .to eq('batch_processing_outcome' => { 'type' => 'no_batches' }, 'reason' => 'no file')
    end

    it 'are given to their workers' do
      worker = declare(:batch_worker) { |batch_context:| batch_context&.start_cursor }
      inputs = { cursor: { batch_id: '001', start_cursor: 5, end_cursor: 9 } }
      expect(run(worker, step_inputs: inputs).result).to eq('result' => 5)
      expect(run(worker).result).to eq({})
    end
  end

  it 'gives a handler of an API what it sends requests with' do
    server = HttpServer.new { [200, { 'content-type' => 'application/json' }, '{"id": 1}'] }
    handler_class = declare(:api_handler, base_url: server.url, headers: { 'X-App' => 'shop' }, timeout: 5, inputs: [:id]) do |api:, id:|
      api.api_success(api.get("/orders/#{id}"))
    end
    expect(run(handler_class, input_data: { id: 1 }).result).to include('data' => { 'id' => 1 })
    expect(server.requests.first).to have_attributes(target: '/orders/1', headers: a_hash_including('x-app' => 'shop'))

    run(handler_class, input_data: { id: 2 }, step_config: { url: "#{server.url}/other" })
    expect(server.requests.last.target).to eq('/other/orders/2')
  ensure
    server.close
  end
end
