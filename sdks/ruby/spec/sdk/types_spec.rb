# frozen_string_literal: true

RSpec.describe TaskerCore::Types do
  describe TaskerCore::Types::Record do
    let(:point) { stub_const('Point', Class.new(described_class) { attributes :x, y: 0, tags: -> { [] } }) }

    it 'has attributes with defaults, and can be changed no more' do
      expect(point.new(x: 1)).to have_attributes(x: 1, y: 0, tags: [])
      expect(point.new(x: 1)).to be_frozen
      expect(point.new(x: 1).tags).not_to equal(point.new(x: 1).tags)
      expect(point.new(x: 1)[:x]).to eq(1)
      expect(point.new(x: 1)['unknown']).to be_nil
    end

    it 'refuses keywords that it does not know, and leaves out such keys' do
      expect { point.new(x: 1, z: 2) }.to raise_error(ArgumentError, /unknown keywords: :z/)
      expect(point.from_hash({ 'x' => 1, 'z' => 2 })).to eq(point.new(x: 1))
    end

    it 'is equal to one of the same class and values' do
      expect(point.new(x: 1)).to eq(point.new(x: 1))
      expect([point.new(x: 1), point.new(x: 1)].uniq.size).to eq(1)
      expect(point.new(x: 1)).not_to eq(point.new(x: 2))
      expect(Class.new(point).new(x: 1)).not_to eq(point.new(x: 1))
      expect(point.new(x: 1).inspect).to eq('#<Point x=1 y=0 tags=[]>')
    end

    it 'passes attributes on to subclasses' do
      expect(Class.new(point) { attributes :z }.new(x: 1, z: 3).to_h).to eq(x: 1, y: 0, tags: [], z: 3)
    end
  end

  describe TaskerCore::Types::TaskRequest do
    it 'knows whether a task can be made of it' do
      request = described_class.new(namespace: 'shop', name: 'order', context: { a: 1 })
      expect(request).to have_attributes(version: '1.0.0', status: 'pending', priority: 0, tags: [], valid_for_creation?: true)
      expect(described_class.new(namespace: '', name: 'order')).not_to be_valid_for_creation
      expect(described_class.from_hash({ 'namespace' => 'n', 'name' => 'm', 'context' => [] })).not_to be_valid_for_creation
      expect(described_class.build_test(namespace: 'n', name: 'm', context: {}, priority: 5))
        .to have_attributes(priority: 5, initiator: 'test')
    end
  end

  describe TaskerCore::Types::TaskTemplate do
    it 'is read from a template' do
      template = described_class.from_hash({ 'name' => 'order', 'namespace_name' => 'shop', 'steps' => [
                                             { 'name' => 'a', 'handler' => { 'callable' => 'A', 'method' => 'm' }, 'unknown' => 1 },
                                             { 'name' => 'b', 'handler' => { 'callable' => 'A' }, 'dependencies' => ['a'],
                                               'retry' => { 'max_attempts' => 7 } }
                                           ] })
      expect(template).to have_attributes(template_key: 'shop/order:1.0.0', handler_callables: ['A'])
      expect(template.steps.first).to have_attributes(type: 'standard', dependencies: [])
      expect(template.steps.first.handler.effective_method).to eq('m')
      expect(template.steps.last.retry).to have_attributes(max_attempts: 7, backoff: 'exponential')
    end
  end

  it 'reads what the server answers' do
    task = described_class::ClientTaskResponse.from_hash({ 'task_uuid' => 't', 'status' => 'complete', 'new_key' => 1,
                                                           'steps' => [{ 'name' => 'a', 'attempts' => 1 }] })
    expect(task).to have_attributes(task_uuid: 't', status: 'complete')
    expect(task.steps.first).to have_attributes(name: 'a', attempts: 1)
    list = described_class::ClientTaskListResponse.from_hash({ 'tasks' => [{ 'task_uuid' => 't' }],
                                                               'pagination' => { 'page' => 1, 'total_count' => 9 } })
    expect(list.tasks.first.task_uuid).to eq('t')
    expect(list.pagination.total_count).to eq(9)
    expect(described_class::ClientHealthResponse.from_hash({ 'status' => 'ok' })).to be_healthy
    expect(described_class::StepCompletion.new(status: 'failed')).to be_failed
    expect(described_class::StepCompletion.new(status: 'completed')).to be_completed
  end
end
