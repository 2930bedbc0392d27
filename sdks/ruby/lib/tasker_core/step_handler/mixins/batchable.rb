# frozen_string_literal: true

module TaskerCore
  module StepHandler
    module Mixins
      # Helpers for the three roles of a batch. The analyzer divides the work ({#create_cursor_configs},
      # {#create_batches_outcome}); the engine then runs one worker step a cursor ({#get_batch_context},
      # {#batch_worker_success}, and {#checkpoint_yield} to save progress); an aggregator adds up
      # ({#detect_aggregation_scenario}, {#aggregate_batch_worker_results}).
      module Batchable
        # @!group Analyzer

        # Divides items among workers, evenly and in order. The ids are +001+ and so on, the ends exclusive.
        #
        # @param total_items [Integer]
        # @param worker_count [Integer] the most workers there may be
        # @yield [config, index] to change a config
        # @return [Array<Hash{String => Object}>] +batch_id+, +start_cursor+, +end_cursor+, +batch_size+; empty without items
        # @raise [ArgumentError] if +worker_count+ is not positive
        def create_cursor_configs(total_items, worker_count, &block)
          raise ArgumentError, "worker_count must be positive, got #{worker_count}" unless worker_count.positive?
          return [] unless total_items.positive?

          create_cursor_ranges(total_items, ceiling(total_items, worker_count), &block)
        end

        # Divides items into batches of a size, the last one perhaps smaller.
        #
        # @param total_items [Integer]
        # @param batch_size [Integer]
        # @param max_batches [Integer, nil] if there were more, the batches get larger
        # @yield [config, index] to change a config
        # @return [Array<Hash{String => Object}>] as of {#create_cursor_configs}
        # @raise [ArgumentError] if there are items and +batch_size+ is not positive
        def create_cursor_ranges(total_items, batch_size, max_batches: nil)
          return [] unless total_items.positive?
          raise ArgumentError, "batch_size must be positive, got #{batch_size}" unless batch_size.positive?

          size = max_batches&.positive? ? [batch_size, ceiling(total_items, max_batches)].max : batch_size
          (0...total_items).step(size).each_with_index.map do |first, index|
            last = [first + size, total_items].min
            config = { 'batch_id' => format('%03d', index + 1), 'start_cursor' => first, 'end_cursor' => last,
                       'batch_size' => last - first }
            yield config, index if block_given?
            config
          end
        end

        # The analyzer's result: create one worker step a cursor.
        #
        # @param worker_template_name [String] the template's step that the workers are made of
        # @param cursor_configs [Array<Hash>]
        # @param total_items [Integer]
        # @param metadata [Hash] becomes part of the result
        # @return [Types::StepHandlerCallResult::Success]
        # @raise [ArgumentError] if there is no cursor or no name
        def create_batches_outcome(worker_template_name:, cursor_configs:, total_items:, metadata: {})
          outcome = Types::BatchProcessingOutcome.create_batches(
            worker_template_name: worker_template_name, cursor_configs: cursor_configs, total_items: total_items
          )
          success(result: { 'batch_processing_outcome' => outcome.to_h, 'worker_count' => outcome.worker_count,
                            'total_items' => total_items }.merge(string_keys(metadata)),
                  metadata: { batch_analyzer: true })
        end

        # The analyzer's result when there is nothing to process.
        #
        # @param reason [String]
        # @param metadata [Hash] becomes part of the result
        # @return [Types::StepHandlerCallResult::Success]
        def no_batches_outcome(reason:, metadata: {})
          outcome = Types::BatchProcessingOutcome.no_batches
          success(result: { 'batch_processing_outcome' => outcome.to_h, 'reason' => reason }.merge(string_keys(metadata)),
                  metadata: { batch_analyzer: true, no_batches: true })
        end

        # @!endgroup
        # @!group Worker

        # @param context [Types::StepContext]
        # @return [BatchProcessing::BatchWorkerContext] the batch that this step has to process
        # @raise [ArgumentError] if the step is no batch worker
        def get_batch_context(context)
          BatchProcessing::BatchWorkerContext.from_step_data(context)
        end
        alias get_batch_worker_context get_batch_context

        # @param batch [BatchProcessing::BatchWorkerContext, Types::StepContext]
        # @return [Types::StepHandlerCallResult::Success, nil] the result of the stand-in of an empty batch; nil if
        #   there is work to do
        def handle_no_op_worker(batch)
          batch = get_batch_context(batch) unless batch.respond_to?(:no_op?)
          return nil unless batch.no_op?

          success(result: { 'batch_id' => batch.batch_id, 'no_op' => true, 'processed_count' => 0 },
                  metadata: { batch_worker: true })
        end

        # The worker's result.
        #
        # @param items_processed [Integer]
        # @param items_succeeded [Integer]
        # @param items_failed [Integer]
        # @param items_skipped [Integer]
        # @param last_cursor [Object, nil] where the worker ended
        # @param results [Array, nil] one entry an item, or what else the aggregator needs
        # @param errors [Array, nil] what went wrong with single items
        # @param metadata [Hash] becomes part of the result
        # @return [Types::StepHandlerCallResult::Success]
        def batch_worker_success(items_processed:, items_succeeded:, items_failed: 0, items_skipped: 0,
                                 last_cursor: nil, results: nil, errors: nil, metadata: {})
          counts = { 'items_processed' => items_processed, 'items_succeeded' => items_succeeded,
                     'items_failed' => items_failed, 'items_skipped' => items_skipped }
          more = { 'last_cursor' => last_cursor, 'results' => results, 'errors' => errors }.compact
          success(result: counts.merge(more, string_keys(metadata)), metadata: { batch_worker: true })
        end

        # Saves how far the step is and has it executed again from there. The handler must return this. The new run is
        # not a new attempt; it finds all three in its context's +checkpoint+.
        #
        # @param cursor [Object] where to go on; anything with a JSON form
        # @param items_processed [Integer] counted from the beginning of the batch
        # @param accumulated_results [Object, nil] sums so far
        # @return [Types::StepHandlerCallResult::CheckpointYield]
        def checkpoint_yield(cursor:, items_processed:, accumulated_results: nil)
          Types::StepHandlerCallResult.checkpoint_yield(cursor: cursor, items_processed: items_processed,
                                                        accumulated_results: accumulated_results)
        end

        # @!endgroup
        # @!group Aggregator

        # @param dependency_results [Models::DependencyResultsWrapper, Hash]
        # @param analyzer_step [String, Symbol]
        # @param worker_prefix [String] what the names of the workers start with
        # @return [BatchProcessing::BatchAggregationScenario]
        def detect_aggregation_scenario(dependency_results, analyzer_step, worker_prefix)
          BatchProcessing::BatchAggregationScenario.detect(dependency_results, analyzer_step, worker_prefix)
        end

        # The aggregator's result if there were no batches.
        #
        # @param metadata [Hash] becomes part of the result, as sums of zero
        # @return [Types::StepHandlerCallResult::Success]
        def no_batches_aggregation_result(metadata: {})
          success(result: { 'worker_count' => 0, 'scenario' => 'no_batches' }.merge(string_keys(metadata)))
        end

        # The aggregator's result: what the block makes of the workers' results.
        #
        # @param scenario [BatchProcessing::BatchAggregationScenario]
        # @param zero_metrics [Hash] the result if there were no batches
        # @yield [batch_results] the workers' results by step name
        # @yieldreturn [Hash]
        # @return [Types::StepHandlerCallResult::Success]
        def aggregate_batch_worker_results(scenario, zero_metrics: {})
          return no_batches_aggregation_result(metadata: zero_metrics) if scenario.no_batches?

          aggregated = block_given? ? yield(scenario.batch_results) : { 'batch_results' => scenario.batch_results }
          success(result: { 'worker_count' => scenario.worker_count, 'scenario' => 'with_batches' }
            .merge(string_keys(aggregated)))
        end

        # @param sequence [#get_dependency_result] a context or a {Models::TaskSequenceStepWrapper}
        # @param step_name [String, Symbol]
        # @param keys [Array<String, Symbol>] keys to follow into the result
        # @return [Object, nil]
        def get_dependency_result(sequence, step_name, *keys)
          keys.reduce(sequence.get_dependency_result(step_name)) { |value, key| value[key] if value.is_a?(Hash) }
        end

        # @!endgroup

        # @return [Array<String>] with what the mixin adds
        def capabilities
          super + %w[batchable batch_processing parallel_execution]
        end

        private

        def ceiling(dividend, divisor)
          -(-dividend / divisor)
        end

        def string_keys(hash)
          hash.to_h.transform_keys(&:to_s)
        end
      end
    end
  end
end
