# frozen_string_literal: true

RSpec.describe TaskerCore::TestHelpers do
  let(:handler_class) do
    Class.new(TaskerCore::StepHandler::Base) do
      def call(context)
        raise TaskerCore::PermanentError, 'no order' if context.get_input(:order).nil?

        success(result: { order: context.get_input(:order), total: context.get_dependency_field('cart', :total),
                          url: config[:url], attempt: context.retry_count + 1 })
      end
    end
  end

  it 'makes a context and runs a handler' do
    context = described_class.make_context(input_data: { order: 'A' }, dependency_results: { 'cart' => { total: 5 } },
                                           step_config: { url: 'x' }, retry_count: 1)
    expect(described_class.run_handler(handler_class, context).result).to eq(order: 'A', total: 5, url: 'x', attempt: 2)
    expect(described_class.run_handler(handler_class.new, context).result).to include(url: nil)
  end

  it 'turns errors into failures, as a worker does' do
    expect(described_class.run_handler(handler_class, described_class.make_context))
      .to have_attributes(success?: false, error_type: 'PermanentError', message: 'no order')
  end

  it 'makes contexts of batch workers' do
    context = described_class.make_context(step_inputs: { cursor: { batch_id: '001', start_cursor: 0, end_cursor: 5 } },
                                           checkpoint: { cursor: 3, items_processed: 3 })
    batch = TaskerCore::StepHandler::Batchable.new.get_batch_context(context)
    expect(batch).to have_attributes(end_cursor: 5, checkpoint_cursor: 3)
  end
end
