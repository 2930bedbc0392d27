# frozen_string_literal: true

RSpec.describe TaskerCore::Types::StepContext do
  def context(**parts)
    data = { task: { task: { task_uuid: 't', correlation_id: 'c', context: { order: { items: [{ sku: 'a' }] } } },
                     task_name: 'order', task_version: '1.0.0', namespace_name: 'shop' },
             workflow_step: { workflow_step_uuid: 's', name: 'charge', retryable: false },
             dependency_results: { 'validate' => { 'success' => true, 'result' => { 'total' => 5, 'lines' => [1, 2] } } },
             step_definition: { handler: { callable: 'Charge', initialization: { url: 'https://x' } } } }.merge(parts)
    described_class.new(data)
  end

  it 'says which step of which task it is about' do
    expect(context).to have_attributes(task_uuid: 't', step_uuid: 's', step_name: 'charge', namespace_name: 'shop',
                                       correlation_id: 'c', handler_name: 'Charge', retryable?: false)
  end

  it 'takes a task that is not nested, and String keys' do
    found = context(task: { 'task_uuid' => 'u', 'context' => { 'a' => 1 }, 'namespace_name' => 'n' })
    expect(found).to have_attributes(task_uuid: 'u', namespace_name: 'n', input_data: { 'a' => 1 })
  end

  it 'takes a wrapper' do
    wrapper = TaskerCore::Models::TaskSequenceStepWrapper.new({ 'task' => { 'context' => { 'a' => 1 } } })
    found = described_class.new(wrapper, handler_name: 'mine')
    expect(found.get_input('a')).to eq(1)
    expect(found.handler_name).to eq('mine')
    expect(wrapper.get_task_field(:a)).to eq(1)
  end

  it 'can be read with Strings and Symbols at every depth' do
    found = context
    expect(found.input_data[:order]['items'][0][:sku]).to eq('a')
    expect(found.get_input(:order).dig('items', 0, 'sku')).to eq('a')
    expect(found.get_config(:url)).to eq('https://x')
    expect(found.get_dependency_result(:validate)[:total]).to eq(5)
  end

  it 'follows a path into a result, also through lists, and finds nil where there is nothing' do
    found = context
    expect(found.get_dependency_field('validate', 'lines', 1)).to eq(2)
    expect(found.get_dependency_field(:validate, :total)).to eq(5)
    expect(found.get_dependency_field('validate', 'lines', 'x')).to be_nil
    expect(found.get_dependency_field('validate', 'total', 'x')).to be_nil
    expect(found.get_dependency_field('nobody', 'total')).to be_nil
  end

  it 'takes a result without a record around it' do
    found = context(dependency_results: { 'a' => { 'total' => 1 }, 'b' => 7 })
    expect(found.get_dependency_result('a')).to eq('total' => 1)
    expect(found.get_dependency_result('b')).to eq(7)
    expect(found.get_all_dependency_results('')).to eq([{ 'total' => 1 }, 7])
  end

  it 'keeps input and the step\'s own inputs apart' do
    found = context(workflow_step: { inputs: { cursor: { batch_id: '001' } } })
    expect(found.step_inputs.dig(:cursor, :batch_id)).to eq('001')
    expect(found.input_data).not_to have_key(:cursor)
  end

  it 'has nothing where there is nothing' do
    found = described_class.new({})
    expect(found).to have_attributes(input_data: {}, step_inputs: {}, step_config: {}, retry_count: 0, max_retries: 3,
                                     checkpoint: nil, checkpoint_cursor: nil, accumulated_results: nil,
                                     get_dependency_result_keys: [], retryable?: true, cancelled?: false)
    expect(found.get_input('a')).to be_nil
    expect(found.get_input_or('a', 1)).to eq(1)
  end

  it 'takes an input that is no object' do
    found = context(task: { context: [1, 2] })
    expect(found.input_data).to eq([1, 2])
    expect(found.get_input('a')).to be_nil
  end

  it 'says whether the attempt is to stop' do
    stop = false
    found = described_class.new({}, cancelled: -> { stop })
    expect { stop = true }.to change(found, :cancelled?).from(false).to(true)
  end

  describe TaskerCore::Models::DependencyResultsWrapper do
    it 'fetches an omitted result once, when it is first asked for' do
      asked = []
      results = described_class.new({ 'small' => { 'result' => 1 } }, omitted: ['large'], fetch: lambda do |name|
        asked << name
        { 'success' => true, 'result' => { 'x' => 1 } }
      end)

      expect(results.keys).to eq(%w[small large])
      expect(results.key?('large')).to be(true)
      expect(asked).to be_empty
      2.times { expect(results.get_results('large')[:x]).to eq(1) }
      expect(asked).to eq(['large'])
    end

    it 'has an omitted result at the place where it is null' do
      record = { 'result' => 1 }
      results = described_class.new({ 'a' => record, 'b' => nil, 'c' => record }, omitted: ['b'], fetch: ->(_name) { { 'result' => 2 } })

      expect(results.keys).to eq(%w[a b c])
      expect(results.to_h.values.map { |each| each[:result] }).to eq([1, 2, 1])
    end

    it 'is nil where an omitted result is gone, and raises what the fetching raises' do
      gone = described_class.new({}, omitted: ['large'], fetch: ->(_name) {})
      broken = described_class.new({}, omitted: ['large'], fetch: ->(_name) { raise TaskerCore::RetryableError, 'away' })

      expect(gone.get_results('large')).to be_nil
      expect { broken.get_results('large') }.to raise_error(TaskerCore::RetryableError, 'away')
    end

    it 'gives whole records, too' do
      results = described_class.new({ validate: { 'success' => true, 'result' => 1, 'metadata' => { 'custom' => {} } } })
      expect(results['validate'][:success]).to be(true)
      expect(results.get_result(:validate).dig('metadata', :custom)).to eq({})
      expect(results.each_key.to_a).to eq(['validate'])
      expect(results['absent']).to be_nil
    end
  end
end
