# frozen_string_literal: true

require_relative 'functional/outcomes'
require_relative 'functional/handlers'

module TaskerCore
  module StepHandler
    # Handlers from blocks.
    #
    #   module Orders
    #     extend TaskerCore::StepHandler::Functional
    #
    #     ValidateCart = step_handler('validate_cart', depends_on: { prices: 'load_prices' }, inputs: [:items]) do
    #       |items:, prices:, context:|
    #       { total: items.sum { |item| prices[item] } }
    #     end
    #   end
    #
    # A block is given what it names of: every key of +depends_on+, every input, and +context+. What it returns becomes
    # the step's result: a Hash as it is, nil as an empty one, an object with +to_h+ as that, anything else under
    # +result+. An error that leaves it becomes the step's failure.
    #
    # +depends_on+ maps a keyword to the name of an earlier step, or to +[name, Model]+. +inputs+ are names of values of
    # the task's context, or one Model, which is then given as +inputs+. A Model is a class with +attribute_names+ (or
    # +members+), keyword arguments and perhaps +validate!+, as +Dry::Struct+ or {Types::Record}.
    #
    # Each factory returns a subclass of {Base}; a template calls it by the name that it was given.
    module Functional
      @declared = {}
      @lock = Mutex.new

      class << self
        # Constants are looked up where code is written, so +Decision+ and +BatchConfig+ are put there.
        def extended(extending)
          super
          return unless extending.is_a?(Module)

          { Decision: Decision, BatchConfig: BatchConfig }.each do |name, value|
            extending.const_set(name, value) unless extending.const_defined?(name, false)
          end
        end

        # @param name [String]
        # @return [Class, nil] the handler class that was declared last under this name
        def handler_class(name)
          @lock.synchronize { @declared[name.to_s] }
        end

        # @return [Array<String>] the names of all handlers that were declared so far
        def declared_names
          @lock.synchronize { @declared.keys }
        end

        # Forgets a handler, as tests do after they declared one.
        #
        # @return [Class, nil] its class
        def forget(name)
          @lock.synchronize { @declared.delete(name.to_s) }
        end

        # @api private
        def declare(base, name, block, depends_on:, inputs:, version:, settings: {})
          raise ArgumentError, "#{name} needs a block" if block.nil?

          handler_class = Class.new(base)
          handler_class.const_set(:VERSION, version)
          handler_class.const_set(:DECLARATION, Declaration.new(name.to_s, block, depends_on, inputs, settings))
          @lock.synchronize { @declared[name.to_s] = handler_class }
          handler_class
        end
      end

      # @param name [String] what templates call it
      # @param depends_on [Hash{Symbol => String, Array}]
      # @param inputs [Array<Symbol>, Class]
      # @param version [String]
      # @return [Class]
      # @raise [ArgumentError] without a block, or if +depends_on+ or +inputs+ have another form
      def step_handler(name, depends_on: {}, inputs: [], version: '1.0.0', &block)
        Functional.declare(BlockHandler, name, block, depends_on: depends_on, inputs: inputs, version: version)
      end

      # The block returns +Decision.route(steps, **routing_context)+ or +Decision.skip(reason, **routing_context)+.
      #
      # @return [Class] see {#step_handler}
      def decision_handler(name, depends_on: {}, inputs: [], version: '1.0.0', &block)
        Functional.declare(DecisionBlockHandler, name, block, depends_on: depends_on, inputs: inputs, version: version)
      end

      # The block returns +BatchConfig.new(total_items:, batch_size:)+.
      #
      # @param worker_template [String] the template's step that the workers are made of
      # @return [Class] see {#step_handler}
      def batch_analyzer(name, worker_template:, depends_on: {}, inputs: [], version: '1.0.0', &block)
        Functional.declare(AnalyzerBlockHandler, name, block, depends_on: depends_on, inputs: inputs, version: version,
                                                              settings: { worker_template: worker_template })
      end

      # The block is also given +batch_context+: a {BatchProcessing::BatchWorkerContext}, or nil if the step has no batch.
      #
      # @return [Class] see {#step_handler}
      def batch_worker(name, depends_on: {}, inputs: [], version: '1.0.0', &block)
        Functional.declare(WorkerBlockHandler, name, block, depends_on: depends_on, inputs: inputs, version: version)
      end

      # The block is also given +api+, which has the methods of {Mixins::API}.
      #
      # @param base_url [String] the +url+ of the requests; the template's configuration may say another one
      # @param timeout [Numeric, nil] seconds to wait for an answer
      # @param open_timeout [Numeric, nil] seconds to wait for a connection
      # @param headers [Hash] sent with every request
      # @return [Class] see {#step_handler}
      def api_handler(name, base_url:, depends_on: {}, inputs: [], version: '1.0.0', timeout: nil, open_timeout: nil,
                      headers: {}, &block)
        settings = { url: base_url, timeout: timeout, open_timeout: open_timeout, headers: headers }.compact
        Functional.declare(ApiBlockHandler, name, block, depends_on: depends_on, inputs: inputs, version: version,
                                                         settings: settings)
      end
    end
  end
end
