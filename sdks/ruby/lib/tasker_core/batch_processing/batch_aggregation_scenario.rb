# frozen_string_literal: true

module TaskerCore
  module BatchProcessing
    # What an aggregator finds: no batches at all, or the results of all workers.
    class BatchAggregationScenario
      # @return [Symbol] +:no_batches+ or +:with_batches+
      attr_reader :type
      # @return [Object, nil] the analyzer's result
      attr_reader :batchable_result
      # @return [Hash{String => Object}] the workers' results by step name; empty without batches
      attr_reader :batch_results
      # @return [Integer]
      attr_reader :worker_count

      # Looks for results of steps whose names start with the prefix.
      #
      # @param dependency_results [Models::DependencyResultsWrapper, Hash]
      # @param analyzer_step [String, Symbol] the step that made the batches
      # @param worker_prefix [String] what the names of the workers start with, as +process_batch_+
      # @return [BatchAggregationScenario]
      def self.detect(dependency_results, analyzer_step, worker_prefix)
        results = dependency_results
        results = Models::DependencyResultsWrapper.new(results) if results.is_a?(Hash)
        workers = results.keys.select { |name| name.start_with?(worker_prefix.to_s) && name != analyzer_step.to_s }
        new(results.get_results(analyzer_step), workers.to_h { |name| [name, results.get_results(name)] })
      end

      # @param batchable_result [Object, nil] the analyzer's result
      # @param batch_results [Hash{String => Object}] the workers' results by step name
      def initialize(batchable_result, batch_results)
        @batchable_result = batchable_result
        @batch_results = batch_results
        @worker_count = batch_results.size
        @type = worker_count.zero? ? :no_batches : :with_batches
      end

      # @return [Boolean]
      def no_batches?
        type == :no_batches
      end
      alias is_no_batches no_batches?

      # @return [Boolean]
      def with_batches?
        type == :with_batches
      end
    end
  end
end
