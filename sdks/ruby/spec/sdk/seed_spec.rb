# frozen_string_literal: true

require_relative 'support/seed_snippet'

RSpec.describe 'the Ruby handler of the chapter "Class-Based Handlers"' do
  let(:handler_class) { SeedSnippet.handler_class }

  it 'is run exactly as it is written' do
    expect(SeedSnippet.source).to include('class ProcessOrderHandler < TaskerCore::StepHandler::Base')
    expect(handler_class.instance_method(:call).source_location.first).to eq(SeedSnippet::PATH)
  end

  it 'succeeds with its two keys' do
    result = handler_class.new.call(TaskerCore::TestHelpers.make_context)

    expect(result.success?).to be(true)
    expect(result.result).to eq(processed: true, handler: 'process_order')
  end

  it 'fails retryably if the input cannot be read' do
    context = Class.new { def input_data = raise('no input') }.new
    result = handler_class.new.call(context)

    expect(result).to be_a(TaskerCore::Types::StepHandlerCallResult::Error)
    expect(result).to have_attributes(success?: false, message: 'no input', error_type: 'RetryableError',
                                      retryable: true, metadata: { handler: 'process_order' })
  end

  it 'is resolved by its constant, without registration' do
    handler_class
    registry = TaskerCore::Registry::HandlerRegistry.new

    expect(registry.resolve_handler('Handlers::ProcessOrderHandler')).to be_a(handler_class)
    expect(registry.registered_handlers).to include('Handlers::ProcessOrderHandler')
  end

  it 'is named after its class' do
    expect(handler_class.new.handler_name).to eq('process_order_handler')
  end
end
