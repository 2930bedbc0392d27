# frozen_string_literal: true

RSpec.describe TaskerCore::StepHandler::Mixins::Decision do
  let(:handler_class) { stub_const('RouteOrder', Class.new(TaskerCore::StepHandler::Decision)) }
  let(:handler) { handler_class.new }

  it 'goes on with steps' do
    result = handler.decision_success(steps: %w[a b], result_data: { total: 5 }, routing_context: { tier: 'gold' },
                                      metadata: { m: 1 })
    expect(result.result).to eq(total: 5, decision_point_outcome: { 'type' => 'create_steps', 'step_names' => %w[a b] },
                                routing_context: { tier: 'gold' })
    expect(result.metadata).to include(decision_point: true, outcome_type: 'create_steps', branches_created: 2,
                                       processed_by: 'route_order', m: 1)
  end

  it 'takes one step by its name, and leaves out an empty context' do
    expect(handler.decision_success(steps: 'a', routing_context: {}).result)
      .to eq(decision_point_outcome: { 'type' => 'create_steps', 'step_names' => ['a'] })
  end

  [[], nil, '', ['a', ''], [:a], [1]].each do |wrong|
    it "does not take #{wrong.inspect} for steps" do
      expect { handler.decision_success(steps: wrong) }
        .to raise_error(TaskerCore::PermanentError) { |error| expect(error.error_code).to eq('INVALID_DECISION_OUTCOME') }
    end
  end

  it 'goes on with none' do
    expect(handler.decision_no_branches(result_data: { a: 1 }).result).to eq(a: 1, decision_point_outcome: { 'type' => 'no_branches' })
    expect(handler.skip_branches('nothing to do').result)
      .to eq(reason: 'nothing to do', decision_point_outcome: { 'type' => 'no_branches' })
    skipped = handler.skip_branches(reason: 'nothing to do', routing_context: { a: 1 })
    expect(skipped.result).to include(reason: 'nothing to do', routing_context: { a: 1 })
    expect(skipped.metadata).to include(outcome_type: 'no_branches', branches_created: 0)
  end

  it 'fails for good if no decision can be made' do
    expect(handler.decision_failure(message: 'unknown'))
      .to have_attributes(error_type: 'decision_error', retryable: false, message: 'unknown')
    expect(handler.decision_failure(message: 'later', retryable: true).retryable).to be(true)
  end

  it 'takes outcomes of its own' do
    outcomes = TaskerCore::Types::DecisionPointOutcome
    expect(handler.decision_with_custom_outcome(outcome: outcomes.create_steps(['a'])).result)
      .to eq(decision_point_outcome: { 'type' => 'create_steps', 'step_names' => ['a'] })
    %w[NoBranches no_branches].each do |type|
      expect(handler.validate_decision_outcome!({ type: type })).to eq(outcomes.no_branches)
    end
    %w[CreateSteps create_steps].each do |type|
      expect(handler.validate_decision_outcome!({ 'type' => type, 'step_names' => ['a'] }).step_names).to eq(['a'])
    end
    [{ type: 'else' }, { type: 'create_steps' }, { type: 'create_steps', step_names: [] }, nil, 5].each do |wrong|
      expect { handler.validate_decision_outcome!(wrong) }.to raise_error(TaskerCore::PermanentError)
    end
  end

  it 'knows whether an outcome needs steps to be created' do
    outcomes = TaskerCore::Types::DecisionPointOutcome
    expect(outcomes.create_steps(['a'])).to be_requires_step_creation
    expect(outcomes.no_branches).not_to be_requires_step_creation
    expect { outcomes.create_steps([]) }.to raise_error(ArgumentError)
  end

  it 'tells what it can do' do
    expect(handler.capabilities).to eq(%w[process decision_point dynamic_workflow step_creation])
    expect(handler.config_schema[:properties].keys).to include(:timeout, :decision_thresholds, :decision_metadata)
  end
end
