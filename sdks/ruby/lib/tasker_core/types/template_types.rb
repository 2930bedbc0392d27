# frozen_string_literal: true

module TaskerCore
  module Types
    # When failed attempts are tried again.
    class RetryConfiguration < Record
      # @!attribute [r] backoff
      #   @return [String] +none+, +linear+, +exponential+ or +fibonacci+
      attributes retryable: true, max_attempts: 3, backoff: 'exponential', backoff_base_ms: 1000, max_backoff_ms: 30_000
    end

    # One step of a template.
    class StepDefinition < Record
      # @!attribute [r] handler
      #   @return [HandlerDefinition]
      # @!attribute [r] retry
      #   @return [RetryConfiguration]
      attributes :name, :description, :handler, :system_dependency, :timeout_seconds, :batch_config,
                 type: 'standard', dependencies: -> { [] }, retry: -> { RetryConfiguration.new },
                 publishes_events: -> { [] }

      # @param hash [Hash] as in a template file
      # @return [StepDefinition]
      def self.from_hash(hash)
        given = hash.transform_keys(&:to_sym)
        given[:handler] = HandlerDefinition.from(given[:handler]) if given[:handler]
        given[:retry] = RetryConfiguration.from_hash(given[:retry]) if given[:retry].is_a?(Hash)
        super(given.compact)
      end
    end

    # A template: the steps of a kind of task, and what they depend on.
    class TaskTemplate < Record
      # @!attribute [r] steps
      #   @return [Array<StepDefinition>]
      attributes :name, :namespace_name, :description, :metadata, :input_schema, version: '1.0.0', steps: -> { [] }

      # @param hash [Hash] as in a template file
      # @return [TaskTemplate]
      def self.from_hash(hash)
        given = hash.transform_keys(&:to_sym)
        given[:namespace_name] ||= given[:namespace]
        given[:steps] = (given[:steps] || []).map { |step| StepDefinition.from_hash(step) }
        super(given.compact)
      end

      # @return [String] +namespace/name:version+
      def template_key
        "#{namespace_name}/#{name}:#{version}"
      end

      # @return [Array<String>] the callables of all steps
      def handler_callables
        steps.filter_map { |step| step.handler&.callable }.uniq
      end
    end
  end
end
