# frozen_string_literal: true

RSpec.describe TaskerCore::StepHandler::Base do
  let(:handler_class) { stub_const('Shop::HTTPOrderHandler', Class.new(described_class) { def call(_context) = success(result: {}) }) }

  it 'must be given a call' do
    expect { described_class.new.call(nil) }.to raise_error(NotImplementedError, /must define call/)
  end

  it 'builds results, with public helpers' do
    handler = handler_class.new
    expect(handler.success(result: { a: 1 }, metadata: { m: 1 })).to have_attributes(success?: true, result: { a: 1 }, metadata: { m: 1 })
    expect(handler.success(result_data: { a: 1 })).to have_attributes(result: { a: 1 })
    expect(handler.success(result: false)).to have_attributes(result: false)
    expect { handler.success }.to raise_error(ArgumentError)
  end

  it 'builds failures that are not retryable by default' do
    expect(handler_class.new.failure(message: 'no'))
      .to have_attributes(success?: false, message: 'no', error_type: 'UnexpectedError', error_code: nil, retryable: false, metadata: {})
    expect(handler_class.new.failure(message: 'no', error_type: 'card_declined', error_code: 'E', retryable: true, metadata: { a: 1 }))
      .to have_attributes(error_type: 'card_declined', error_code: 'E', retryable: true, metadata: { a: 1 })
  end

  it 'says who it is' do
    handler_class.const_set(:VERSION, '2.1.0')
    expect(handler_class.new.metadata)
      .to include(handler_name: 'http_order_handler', handler_class: 'Shop::HTTPOrderHandler', version: '2.1.0',
                  capabilities: ['process'], ruby_version: RUBY_VERSION)
    expect(described_class.new.version).to eq('1.0.0')
  end

  it 'takes the version of the nearest class that has one' do
    handler_class.const_set(:VERSION, '2.1.0')
    expect(Class.new(handler_class).new.version).to eq('2.1.0')
  end

  it 'tells of hooks that it has' do
    with_hooks = Class.new(described_class) do
      def process_results(*); end
      def process_async(*); end
      def process_stream(*); end
    end
    expect(with_hooks.new.capabilities).to eq(%w[process process_results async streaming])
  end

  it 'describes its configuration' do
    properties = described_class.new.config_schema[:properties]
    expect(properties.transform_values { |property| property[:default] }).to eq(timeout: 300, retries: 3, log_level: 'info')
    expect(described_class.new.validate_config({})).to be(true)
    expect(described_class.new.validate_config(nil)).to be(false)
  end

  it 'has a configuration, a logger, and nothing of the engine' do
    logger = Object.new
    handler = handler_class.new(config: { 'url' => 'x' }, logger: logger)
    expect(handler.config[:url]).to eq('x')
    expect(handler.logger).to equal(logger)
    expect(handler_class.new.logger).to equal(TaskerCore::Logger.instance)
    expect(handler.orchestration_system.anything(1)).to be_nil
  end

  it 'remembers handler classes that have a constant and can be called' do
    handler_class
    stub_const('Shop::Abstract', Class.new(described_class))
    Class.new(handler_class)
    names = described_class.named_handler_classes.map(&:name)

    expect(names).to include('Shop::HTTPOrderHandler')
    expect(names).not_to include('Shop::Abstract')
    expect(names.grep(/TaskerCore/)).to be_empty
    expect(names).not_to include(nil)
  end

  it 'forgets a class whose constant is another one by now' do
    old = handler_class
    reloaded = Class.new(described_class) { def call(_context) = success(result: {}) }
    stub_const('Shop::HTTPOrderHandler', reloaded)
    expect(described_class.named_handler_classes).to include(reloaded)
    expect(described_class.named_handler_classes).not_to include(old)
  end

  it 'remembers subclasses of subclasses' do
    stub_const('Shop::SpecialHandler', Class.new(handler_class))
    expect(described_class.named_handler_classes.map(&:name)).to include('Shop::SpecialHandler')
  end

  it 'can be made and checked through Handlers::Steps' do
    steps = TaskerCore::Handlers::Steps
    expect(steps.create(handler_class, config: { a: 1 }).config[:a]).to eq(1)
    expect(steps.validate(handler_class)).to be(true)
    expect(steps.validate(described_class)).to be(false)
    expect(steps.validate(String)).to be(false)
  end
end
