# frozen_string_literal: true

module TaskerCore
  module Types
    # What a batch analyzer found: batches to create a worker step for each, or none.
    module BatchProcessingOutcome
      # There is nothing to process.
      class NoBatches < Record
        # @return [String] +no_batches+
        def type
          'no_batches'
        end

        # @return [Boolean] false
        def requires_batch_creation?
          false
        end

        # @return [Hash{String => Object}] as Tasker reads it
        def to_h
          { 'type' => type }
        end
      end

      # One worker step a cursor is created.
      class CreateBatches < Record
        # @!attribute [r] worker_template_name
        #   @return [String] the template's step that the workers are made of
        # @!attribute [r] worker_count
        #   @return [Integer] the number of cursors
        # @!attribute [r] cursor_configs
        #   @return [Array<Hash>] with the keys +batch_id+, +start_cursor+, +end_cursor+ (exclusive), +batch_size+
        # @!attribute [r] total_items
        #   @return [Integer] over all batches
        attributes :worker_template_name, :worker_count, :cursor_configs, :total_items

        # @raise [ArgumentError] if the worker's name is empty, there is no cursor, or +worker_count+ is not their number
        def initialize(worker_template_name:, cursor_configs:, total_items:, worker_count: cursor_configs.size)
          raise ArgumentError, 'worker_template_name must not be empty' if worker_template_name.to_s.empty?
          raise ArgumentError, 'cursor_configs must not be empty' if cursor_configs.empty?
          if worker_count != cursor_configs.size
            raise ArgumentError, "worker_count is #{worker_count}, but there are #{cursor_configs.size} cursor_configs"
          end

          super
        end

        # @return [String] +create_batches+
        def type
          'create_batches'
        end

        # @return [Boolean] true
        def requires_batch_creation?
          true
        end

        # @return [Hash{String => Object}] as Tasker reads it
        def to_h
          { 'type' => type, 'worker_template_name' => worker_template_name, 'worker_count' => worker_count,
            'cursor_configs' => cursor_configs, 'total_items' => total_items }
        end
      end

      module_function

      # @return [NoBatches]
      def no_batches
        NoBatches.new
      end

      # @return [CreateBatches]
      # @raise [ArgumentError] see {CreateBatches#initialize}
      def create_batches(worker_template_name:, cursor_configs:, total_items:, worker_count: cursor_configs.size)
        CreateBatches.new(worker_template_name: worker_template_name, cursor_configs: cursor_configs,
                          total_items: total_items, worker_count: worker_count)
      end

      # @param hash [Hash] with String or Symbol keys
      # @return [NoBatches, CreateBatches, nil] nil if it is not an outcome
      def from_hash(hash)
        given = hash.transform_keys(&:to_sym)
        case given[:type]
        when 'no_batches', 'NoBatches' then no_batches
        when 'create_batches', 'CreateBatches'
          create_batches(**given.slice(:worker_template_name, :cursor_configs, :total_items, :worker_count))
        end
      end
    end
  end
end
