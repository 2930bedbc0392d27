# frozen_string_literal: true

require_relative 'support/captured_log'

RSpec.describe TaskerCore::StepHandler::Mixins::Batchable do
  include_context 'with a captured log'

  let(:handler) { TaskerCore::StepHandler::Batchable.new }

  def worker_context(cursor, is_no_op: false, checkpoint: nil)
    inputs = { cursor: cursor, batch_metadata: { cursor_field: 'id' }, is_no_op: is_no_op }
    TaskerCore::TestHelpers.make_context(step_inputs: inputs, checkpoint: checkpoint)
  end

  def range(first, last)
    { batch_id: '001', start_cursor: first, end_cursor: last }
  end

  describe 'the analyzer' do
    it 'divides all items, each once, in order, for any numbers' do
      (1..40).to_a.product((1..12).to_a).each do |total, count|
        configs = handler.create_cursor_configs(total, count)
        items = configs.flat_map { |config| (config['start_cursor']...config['end_cursor']).to_a }
        expect(items).to eq((0...total).to_a), "#{total} items, #{count} workers"
        expect(configs.size).to be <= count
        expect(configs.map { |config| config['batch_size'] }).to all(be_positive)
      end
    end

    it 'numbers batches beyond 999' do
      expect(handler.create_cursor_configs(1200, 1200).last['batch_id']).to eq('1200')
    end

    it 'makes larger batches rather than too many' do
      expect(handler.create_cursor_ranges(250, 100, max_batches: 2).map { |config| config['end_cursor'] }).to eq([125, 250])
      expect(handler.create_cursor_ranges(250, 100, max_batches: 5).size).to eq(3)
      expect { handler.create_cursor_ranges(10, 0) }.to raise_error(ArgumentError)
    end

    it 'lets a block change the cursors' do
      configs = handler.create_cursor_configs(4, 2) { |config, index| config['shard'] = index }
      expect(configs.map { |config| config['shard'] }).to eq([0, 1])
    end

    it 'reports batches, with more in the result' do
      configs = handler.create_cursor_configs(4, 2)
      result = handler.create_batches_outcome(worker_template_name: 'w', cursor_configs: configs, total_items: 4,
                                              metadata: { file: 'a.csv' })
      expect(result.result).to eq(
        'batch_processing_outcome' => { 'type' => 'create_batches', 'worker_template_name' => 'w', 'worker_count' => 2,
                                        'cursor_configs' => configs, 'total_items' => 4 },
        'worker_count' => 2, 'total_items' => 4, 'file' => 'a.csv'
      )
    end

    it 'reports that there is nothing' do
      expect(handler.no_batches_outcome(reason: 'empty', metadata: { a: 1 }).result)
        .to eq('batch_processing_outcome' => { 'type' => 'no_batches' }, 'reason' => 'empty', 'a' => 1)
    end

    it 'does not report batches that do not fit together' do
      outcomes = TaskerCore::Types::BatchProcessingOutcome
      good = { worker_template_name: 'w', cursor_configs: [{}], total_items: 1 }
      expect { outcomes.create_batches(**good, worker_count: 2) }.to raise_error(ArgumentError, /worker_count/)
      expect { outcomes.create_batches(**good, worker_template_name: '') }.to raise_error(ArgumentError)
      expect { outcomes.create_batches(**good, cursor_configs: []) }.to raise_error(ArgumentError)
      expect(outcomes.from_hash(outcomes.create_batches(**good).to_h)).to eq(outcomes.create_batches(**good))
      expect(outcomes.from_hash({ 'type' => 'no_batches' })).to eq(outcomes.no_batches)
      expect(outcomes.from_hash({ type: 'else' })).to be_nil
    end
  end

  describe 'a worker' do
    it 'is told its batch' do
      batch = handler.get_batch_context(worker_context(range(100, 250)))
      expect(batch).to have_attributes(batch_id: '001', start_cursor: 100, end_cursor: 250, batch_size: 150, no_op?: false,
                                       has_checkpoint?: false, checkpoint_items_processed: 0, accumulated_results: nil)
      expect(batch.cursor[:start_cursor]).to eq(100)
      expect(batch.cursor.end_cursor).to eq(250)
      expect(batch.batch_metadata[:cursor_field]).to eq('id')
    end

    it 'finds its checkpoint' do
      checkpoint = { cursor: 0, items_processed: 5, accumulated_results: { sum: 1 } }
      expect(handler.get_batch_worker_context(worker_context(range(0, 9), checkpoint: checkpoint)))
        .to have_attributes(has_checkpoint?: true, checkpoint_cursor: 0, checkpoint_items_processed: 5,
                            accumulated_results: { 'sum' => 1 })
    end

    it 'may have cursors that are no numbers' do
      expect(handler.get_batch_context(worker_context(range('2030-01-01', '2030-02-01'))).cursor.start_cursor).to eq('2030-01-01')
    end

    {
      'no cursor' => {}, 'no id' => { start_cursor: 0, end_cursor: 1 }, 'no start' => { batch_id: 'a', end_cursor: 1 },
      'no end' => { batch_id: 'a', start_cursor: 1 }, 'cursors of two kinds' => { batch_id: 'a', start_cursor: 0, end_cursor: 'x' },
      'a negative cursor' => { batch_id: 'a', start_cursor: -1, end_cursor: 1 },
      'a start beyond the end' => { batch_id: 'a', start_cursor: 2, end_cursor: 1 }
    }.each do |what, cursor|
      it "cannot be given #{what}" do
        expect { handler.get_batch_context(worker_context(cursor)) }.to raise_error(ArgumentError)
      end
    end

    it 'may have nothing to do, which is logged' do
      expect(handler.get_batch_context(worker_context(range(3, 3))).batch_size).to eq(0)
      expect(log).to include('batch_without_items')
    end

    it 'does nothing as the stand-in of an empty batch' do
      step = worker_context({}, is_no_op: true)
      expected = { 'batch_id' => 'unknown', 'no_op' => true, 'processed_count' => 0 }
      expect(handler.handle_no_op_worker(step).result).to eq(expected)
      expect(handler.handle_no_op_worker(handler.get_batch_context(step)).result).to eq(expected)
      expect(handler.handle_no_op_worker(worker_context(range(0, 1)))).to be_nil
    end

    it 'reports counts, and what else there is' do
      expect(handler.batch_worker_success(items_processed: 3, items_succeeded: 3))
        .to have_attributes(result: { 'items_processed' => 3, 'items_succeeded' => 3, 'items_failed' => 0, 'items_skipped' => 0 },
                            metadata: { batch_worker: true })
      result = handler.batch_worker_success(items_processed: 3, items_succeeded: 1, items_failed: 1, items_skipped: 1,
                                            last_cursor: 9, results: [{ sum: 1 }], errors: ['x'], metadata: { file: 'a' })
      expect(result.result).to include('last_cursor' => 9, 'results' => [{ sum: 1 }], 'errors' => ['x'], 'file' => 'a')
    end

    it 'saves how far it is' do
      expect(handler.checkpoint_yield(cursor: { page: 2 }, items_processed: 5, accumulated_results: { sum: 1 }))
        .to have_attributes(checkpoint?: true, cursor: { page: 2 }, items_processed: 5, accumulated_results: { sum: 1 })
    end
  end

  it 'tells what it can do' do
    expect(handler.capabilities).to eq(%w[process batchable batch_processing parallel_execution])
  end

  describe 'an aggregator' do
    let(:results) { { 'analyze' => { 'total_items' => 3 }, 'work_001' => { 'n' => 1 }, 'work_002' => { 'n' => 2 } } }
    let(:context) { TaskerCore::TestHelpers.make_context(dependency_results: results) }

    it 'finds the results of all workers' do
      scenario = handler.detect_aggregation_scenario(context.dependency_results, 'analyze', 'work_')
      expect(scenario).to have_attributes(type: :with_batches, with_batches?: true, no_batches?: false, is_no_batches: false,
                                          worker_count: 2, batchable_result: { 'total_items' => 3 })
      expect(handler.aggregate_batch_worker_results(scenario) { |found| { sum: found.sum { |_, result| result[:n] } } }.result)
        .to eq('worker_count' => 2, 'scenario' => 'with_batches', 'sum' => 3)
      expect(handler.aggregate_batch_worker_results(scenario).result['batch_results'].keys).to eq(%w[work_001 work_002])
    end

    it 'finds none, and says zero' do
      scenario = handler.detect_aggregation_scenario(results.slice('analyze'), :analyze, :work_)
      expect(scenario).to have_attributes(type: :no_batches, is_no_batches: true, worker_count: 0, batch_results: {})
      expect(handler.aggregate_batch_worker_results(scenario, zero_metrics: { sum: 0 }) { raise 'not called' }.result)
        .to eq('worker_count' => 0, 'scenario' => 'no_batches', 'sum' => 0)
    end

    it 'does not take the analyzer for a worker' do
      scenario = handler.detect_aggregation_scenario({ 'work' => 1, 'work_001' => 2 }, 'work', 'work')
      expect(scenario.batch_results).to eq('work_001' => 2)
    end

    it 'reads a field of a result' do
      expect(handler.get_dependency_result(context, 'work_001', 'n')).to eq(1)
      expect(handler.get_dependency_result(context, 'work_001', :n, :deeper)).to be_nil
      expect(handler.get_dependency_result(context, 'absent')).to be_nil
    end
  end
end
