# frozen_string_literal: true

module TaskerCore
  module BatchProcessing
    # The range that a batch worker is given. Read as a Hash, or by its methods.
    class Cursor < Types::IndifferentHash
      # @return [Object] where the batch begins
      def start_cursor
        self['start_cursor']
      end

      # @return [Object] where the batch ends; not part of it
      def end_cursor
        self['end_cursor']
      end

      # @return [String]
      def batch_id
        self['batch_id']
      end

      # @return [Integer, nil] the number of items
      def batch_size
        self['batch_size']
      end
    end

    # The batch that a worker step has to process.
    class BatchWorkerContext
      # @return [Cursor] readable as a Hash and by +start_cursor+, +end_cursor+, +batch_id+, +batch_size+
      attr_reader :cursor
      # @return [Types::IndifferentHash] +cursor_field+ and +failure_strategy+
      attr_reader :batch_metadata
      # @return [Types::IndifferentHash, nil] where an earlier run of this step said it could go on
      attr_reader :checkpoint
      # @return [Boolean] whether this is the stand-in of a batch without items
      attr_reader :is_no_op
      alias no_op? is_no_op

      # @param context [Types::StepContext, Models::WorkflowStepWrapper]
      # @return [BatchWorkerContext]
      # @raise [ArgumentError] if the step's inputs are not those of a batch worker
      def self.from_step_data(context)
        step = context.respond_to?(:workflow_step) ? context.workflow_step : context
        new(step)
      end

      # @param workflow_step [Models::WorkflowStepWrapper]
      # @raise [ArgumentError] if the step's inputs are not those of a batch worker
      def initialize(workflow_step)
        inputs = workflow_step.inputs.is_a?(Hash) ? Types::IndifferentHash.wrap(workflow_step.inputs) : {}
        @is_no_op = inputs['is_no_op'] == true
        @cursor = Cursor.new(inputs['cursor'].is_a?(Hash) ? inputs['cursor'] : {})
        @batch_metadata = inputs['batch_metadata'] || Types::IndifferentHash.new
        @checkpoint = workflow_step.checkpoint
        validate_cursor unless no_op?
      end

      # @return [String] +unknown+ if there is none
      def batch_id
        cursor.batch_id || 'unknown'
      end

      # @return [Integer] the first item
      def start_cursor
        cursor.start_cursor.to_i
      end

      # @return [Integer] the item after the last one
      def end_cursor
        cursor.end_cursor.to_i
      end

      # @return [Integer] the number of items
      def batch_size
        cursor.batch_size || (end_cursor - start_cursor)
      end

      # @return [Object, nil] where to go on
      def checkpoint_cursor
        from_checkpoint('cursor')
      end

      # @return [Object, nil] sums up to the checkpoint
      def accumulated_results
        from_checkpoint('accumulated_results')
      end

      # @return [Boolean] whether there is a cursor to go on from; 0 is one
      def has_checkpoint?
        !checkpoint_cursor.nil?
      end

      # @return [Integer] items done before the checkpoint
      def checkpoint_items_processed
        from_checkpoint('items_processed') || 0
      end

      private

      def from_checkpoint(key)
        checkpoint[key] if checkpoint.is_a?(Hash)
      end

      def validate_cursor
        raise ArgumentError, 'the step has no batch: its inputs have no cursor' if cursor.empty?

        %w[batch_id start_cursor end_cursor].each do |key|
          raise ArgumentError, "the batch's cursor has no #{key}" if cursor[key].nil?
        end
        validate_range(cursor.start_cursor, cursor.end_cursor)
      end

      # Cursors that are no numbers, as times, have an order that only the handler knows.
      def validate_range(first, last)
        numbers = [first, last].count { |value| value.is_a?(Numeric) }
        raise ArgumentError, "the cursors #{first.inspect} and #{last.inspect} are of different kinds" if numbers == 1
        return unless numbers == 2

        raise ArgumentError, "a cursor is negative: #{first}, #{last}" if first.negative? || last.negative?
        raise ArgumentError, "start_cursor #{first} is beyond end_cursor #{last}" if first > last

        Logger.instance.warn('batch_without_items', logger: 'tasker.batches', batch_id: batch_id) if first == last
      end
    end
  end
end
