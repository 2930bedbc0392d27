# frozen_string_literal: true

module TaskerCore
  module StepHandler
    module Functional
      # What a factory was given, and how a block's keywords are filled from a context.
      class Declaration
        # @return [String]
        attr_reader :name
        # @return [Hash]
        attr_reader :settings

        def initialize(name, block, depends_on, inputs, settings)
          @name = name
          @block = block
          @sources = depends_on.to_h { |keyword, source| [keyword.to_sym, source_of(keyword, source)] }
          @inputs = inputs.is_a?(Class) ? inputs : Array(inputs).map(&:to_sym)
          @settings = settings
        end

        # Runs the block with the keywords that it names.
        def run(context, **more)
          arguments = dependencies(context).merge(inputs(context), context: context, **more)
          kinds = @block.parameters
          named = kinds.filter_map { |kind, keyword| keyword if %i[key keyreq].include?(kind) }
          arguments = arguments.slice(*named) if named.any? && kinds.none? { |kind, _| kind == :keyrest }
          @block.call(**arguments)
        end

        private

        def source_of(keyword, source)
          step, model = Array(source)
          named = step.is_a?(String) || step.is_a?(Symbol)
          return [step.to_s, model] if named && (model.nil? || model.is_a?(Class))

          raise ArgumentError, "depends_on: #{keyword}: takes 'step' or ['step', Model], got #{source.inspect}"
        end

        def dependencies(context)
          @sources.transform_values do |(step, model)|
            value = context.get_dependency_result(step)
            model && value.is_a?(Hash) ? build(model, value) : value
          end
        end

        def inputs(context)
          return { inputs: build(@inputs, context.input_data) } if @inputs.is_a?(Class)

          @inputs.to_h { |key| [key, context.get_input(key)] }
        end

        # Keys that are missing are left out, so that the model's defaults hold.
        def build(model, hash)
          hash = {} unless hash.is_a?(Hash)
          names = (model.respond_to?(:attribute_names) ? model.attribute_names : model.members).map(&:to_sym)
          given = names.select { |name| hash.key?(name) }.to_h { |name| [name, hash[name]] }
          object = model.new(**given)
          object.validate! if object.respond_to?(:validate!)
          object
        end
      end
      private_constant :Declaration

      # The handler of {Functional#step_handler}.
      class BlockHandler < Base
        # @return [Types::StepHandlerCallResult::Success, Types::StepHandlerCallResult::Error,
        #   Types::StepHandlerCallResult::CheckpointYield]
        def call(context)
          outcome(declaration.run(context, **extra_arguments(context)))
        rescue StandardError => e
          Types::StepHandlerCallResult.from_exception(e)
        end

        # @return [String] as it was declared
        def handler_name
          declaration.name
        end

        private

        def declaration
          self.class::DECLARATION
        end

        def extra_arguments(_context)
          {}
        end

        def outcome(value)
          case value
          when Types::StepHandlerCallResult::Success, Types::StepHandlerCallResult::Error,
               Types::StepHandlerCallResult::CheckpointYield then value
          else success(result: result_of(value))
          end
        end

        def result_of(value)
          return {} if value.nil?
          return value if value.is_a?(Hash)

          own_form = value.respond_to?(:to_h) && (!value.is_a?(Enumerable) || value.is_a?(Struct))
          own_form ? value.to_h : { 'result' => value }
        end
      end

      # The handler of {Functional#decision_handler}.
      class DecisionBlockHandler < BlockHandler
        include Mixins::Decision

        private

        def outcome(value)
          return super unless value.is_a?(Functional::Decision)
          return decision_success(steps: value.steps, routing_context: value.routing_context) if value.kind == :route

          skip_branches(reason: value.reason, routing_context: value.routing_context)
        end
      end

      # The handler of {Functional#batch_analyzer}.
      class AnalyzerBlockHandler < BlockHandler
        include Mixins::Batchable

        private

        def outcome(value)
          return super unless value.is_a?(BatchConfig)
          return nothing_to_do(value.metadata) unless value.total_items.positive?

          create_batches_outcome(worker_template_name: declaration.settings[:worker_template],
                                 cursor_configs: create_cursor_ranges(value.total_items, value.batch_size),
                                 total_items: value.total_items, metadata: value.metadata)
        end

        def nothing_to_do(metadata)
          given = metadata.transform_keys(&:to_s)
          no_batches_outcome(reason: given['reason'] || 'empty_dataset', metadata: given.except('reason'))
        end
      end

      # The handler of {Functional#batch_worker}.
      class WorkerBlockHandler < BlockHandler
        include Mixins::Batchable

        private

        def extra_arguments(context)
          { batch_context: context.step_inputs.empty? ? nil : get_batch_context(context) }
        end
      end

      # The handler of {Functional#api_handler}.
      class ApiBlockHandler < BlockHandler
        include Mixins::API

        private

        def api_settings
          declaration.settings.transform_keys(&:to_s).merge(config.to_h)
        end

        def extra_arguments(_context)
          { api: self }
        end
      end
    end
  end
end
